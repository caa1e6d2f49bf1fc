// RUN: free-length
// REFUSED: counter /step is a tensor<i32>
module attributes {stepforge.free_length} {
  func.func @step(%p: tensor<16xf32> {stepforge.name = "/*", stepforge.role = "parameter", stepforge.result = 0 : index},
                  %t: tensor<i32> {stepforge.name = "/step", stepforge.role = "counter", stepforge.result = 1 : index}) -> (tensor<16xf32>, tensor<i32>) {
    return %p, %t : tensor<16xf32>, tensor<i32>
  }
}
