// RUN: fold-hyperparameters
// EXECUTE: no
// A condition of the host is an i1 scalar. (IREE takes no i1 tensor that is made from a scalar.)
// CHECK-LABEL: func.func @step
// CHECK: %[[LATE:.*]] = arith.cmpi sgt, %arg2, %{{.*}} : i64
// CHECK: %[[HOST:.*]] = util.optimization_barrier %[[LATE]] : i1
// CHECK: tensor.from_elements %[[HOST]] : tensor<i1>
func.func @step(%p: tensor<8xf32>, %g: tensor<8xf32>, %t: i64) -> tensor<8xf32> {
  %t0 = tensor.from_elements %t : tensor<i64>
  %ten = arith.constant dense<10> : tensor<i64>
  %late = arith.cmpi sgt, %t0, %ten : tensor<i64>
  %out = tensor.empty() : tensor<8xi1>
  %lates = linalg.broadcast ins(%late : tensor<i1>) outs(%out : tensor<8xi1>) dimensions = [0]
  %raw = arith.subf %p, %g : tensor<8xf32>
  %new_p = arith.select %lates, %raw, %p : tensor<8xi1>, tensor<8xf32>
  return %new_p : tensor<8xf32>
}
