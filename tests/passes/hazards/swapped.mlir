// Two states change places, and nothing else happens.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %p: tensor<48x40xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 0 : index},
      %q: tensor<48x40xf32> {stepforge.name = "/q", stepforge.role = "parameter", stepforge.result = 1 : index})
      -> (tensor<48x40xf32>, tensor<48x40xf32>) {
    // Nothing is computed.
    return %q, %p : tensor<48x40xf32>, tensor<48x40xf32>
  }
}
