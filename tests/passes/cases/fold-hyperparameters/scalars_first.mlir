// RUN: fold-hyperparameters
// Host math comes before all dispatches: between two it would make them two submissions.
// CHECK-LABEL: func.func @step
// CHECK: %[[NEXT:.*]] = arith.addi %arg1, %{{.*}} : i64
// CHECK: arith.sitofp
// CHECK: util.optimization_barrier
// CHECK: linalg.reduce
// CHECK-NOT: : i64
// CHECK: return %{{.*}}, %[[NEXT]]
func.func @step(%g: tensor<8xf32>, %t: i64) -> (tensor<f32>, i64) {
  %zero = arith.constant 0.0 : f32
  %out = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce { arith.addf } ins(%g : tensor<8xf32>) outs(%init : tensor<f32>) dimensions = [0]
  %t0 = tensor.from_elements %t : tensor<i64>
  %one = arith.constant dense<1> : tensor<i64>
  %next = arith.addi %t0, %one : tensor<i64>
  %f = arith.sitofp %next : tensor<i64> to tensor<f32>
  %scaled = arith.mulf %sum, %f : tensor<f32>
  %new_t = tensor.extract %next[] : tensor<i64>
  return %scaled, %new_t : tensor<f32>, i64
}
