// RUN: free-length
// REFUSED: parameter /* is a tensor<4x4xf32>, and a step of any length has flat parameters
module attributes {stepforge.free_length} {
  func.func @step(%p: tensor<4x4xf32> {stepforge.name = "/*", stepforge.role = "parameter", stepforge.result = 0 : index}) -> tensor<4x4xf32> {
    return %p : tensor<4x4xf32>
  }
}
