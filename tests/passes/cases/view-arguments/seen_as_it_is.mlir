// RUN: view-arguments
// What is also read in its own shape keeps it, and so does an input, which is no state.
// CHECK: func.func @step(%{{.*}}: tensor<4x4xf32>
// CHECK-NOT: stepforge.view
func.func @step(%p: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/p", stepforge.result = 0 : index},
                %x: tensor<4x4xf32> {stepforge.role = "input", stepforge.name = "x"}) -> (tensor<4x4xf32>, tensor<16xf32>) {
  %pf = tensor.collapse_shape %p [[0, 1]] : tensor<4x4xf32> into tensor<16xf32>
  %xf = tensor.collapse_shape %x [[0, 1]] : tensor<4x4xf32> into tensor<16xf32>
  %out = arith.addf %pf, %xf : tensor<16xf32>
  %new = arith.addf %p, %p : tensor<4x4xf32>
  return %new, %out : tensor<4x4xf32>, tensor<16xf32>
}
