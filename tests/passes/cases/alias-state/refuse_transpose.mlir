// RUN: alias-state
// REFUSED: alias-state: a new value that is computed over the old one may depend on no other element of it
// REFUSED: parameter /w: its new value is made by linalg.transpose, not element by element
func.func @step(%p: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/w", stepforge.result = 0 : index}) -> tensor<4x4xf32> {
// REFUSED: allow_copies=True computes it elsewhere and copies it
  %out = tensor.empty() : tensor<4x4xf32>
  %t = linalg.transpose ins(%p : tensor<4x4xf32>) outs(%out : tensor<4x4xf32>) permutation = [1, 0]
  return %t : tensor<4x4xf32>
}
