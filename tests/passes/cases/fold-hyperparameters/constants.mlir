// RUN: fold-hyperparameters
// Math on baked values is done here, in the precision of its type.
// CHECK-LABEL: func.func @step
// CHECK-NOT: arith.mulf %{{.*}} : f32
// CHECK-NOT: math.
// CHECK: arith.constant dense<0.693147182> : tensor<f32>
// CHECK-NOT: from_elements
func.func @step(%p: tensor<8xf32>) -> tensor<8xf32> {
  %half = arith.constant dense<0.5> : tensor<f32>
  %four = arith.constant dense<4.0> : tensor<f32>
  %two = arith.mulf %half, %four : tensor<f32>
  %log = math.log %two : tensor<f32>
  %out = tensor.empty() : tensor<8xf32>
  %logs = linalg.broadcast ins(%log : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %new_p = arith.mulf %p, %logs : tensor<8xf32>
  return %new_p : tensor<8xf32>
}
