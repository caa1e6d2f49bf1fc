// RUN: fold-hyperparameters
// Scalars that depend on arguments become scalar math; what the device reads gets a barrier, once.
// CHECK-LABEL: func.func @step
// CHECK: %[[T1:.*]] = arith.addi %arg3, %{{.*}} : i64
// CHECK: %[[TF:.*]] = arith.sitofp %[[T1]] : i64 to f32
// CHECK: %[[ROOT:.*]] = math.sqrt %[[TF]] : f32
// CHECK: %[[RATE:.*]] = arith.divf %arg2, %[[ROOT]] : f32
// CHECK: %[[HOST:.*]] = util.optimization_barrier %[[RATE]] : f32
// CHECK-NOT: util.optimization_barrier
// CHECK: tensor.from_elements %[[HOST]] : tensor<f32>
// CHECK-NOT: tensor.extract
// CHECK: return %{{.*}}, %[[T1]] : tensor<8xf32>, i64
func.func @step(%p: tensor<8xf32>, %g: tensor<8xf32>, %lr: f32, %t: i64) -> (tensor<8xf32>, i64) {
  %lr0 = tensor.from_elements %lr : tensor<f32>
  %t0 = tensor.from_elements %t : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %t1 = arith.addi %t0, %one : tensor<i64>
  %tf = arith.sitofp %t1 : tensor<i64> to tensor<f32>
  %root = math.sqrt %tf : tensor<f32>
  %rate = arith.divf %lr0, %root : tensor<f32>
  %out = tensor.empty() : tensor<8xf32>
  %rates = linalg.broadcast ins(%rate : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %again = linalg.broadcast ins(%rate : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %delta = arith.mulf %rates, %g : tensor<8xf32>
  %more = arith.mulf %again, %delta : tensor<8xf32>
  %new_p = arith.subf %p, %more : tensor<8xf32>
  %new_t = tensor.extract %t1[] : tensor<i64>
  return %new_p, %new_t : tensor<8xf32>, i64
}
