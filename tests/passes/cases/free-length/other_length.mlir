// RUN: free-length
// REFUSED: slot /m/* is a tensor<8xf32>
// REFUSED: of one length
module attributes {stepforge.free_length} {
  func.func @step(%p: tensor<16xf32> {stepforge.name = "/*", stepforge.role = "parameter", stepforge.result = 0 : index},
                  %m: tensor<8xf32> {stepforge.name = "/m/*", stepforge.role = "slot", stepforge.result = 1 : index}) -> (tensor<16xf32>, tensor<8xf32>) {
    return %p, %m : tensor<16xf32>, tensor<8xf32>
  }
}
