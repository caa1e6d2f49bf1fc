// RUN: alias-state
// REFUSED: parameter /w: its new value is made by linalg.matmul, not element by element
func.func @step(%p: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/w", stepforge.result = 0 : index}) -> tensor<4x4xf32> {
  %zero = arith.constant 0.0 : f32
  %out = tensor.empty() : tensor<4x4xf32>
  %init = linalg.fill ins(%zero : f32) outs(%out : tensor<4x4xf32>) -> tensor<4x4xf32>
  %square = linalg.matmul ins(%p, %p : tensor<4x4xf32>, tensor<4x4xf32>) outs(%init : tensor<4x4xf32>) -> tensor<4x4xf32>
  return %square : tensor<4x4xf32>
}
