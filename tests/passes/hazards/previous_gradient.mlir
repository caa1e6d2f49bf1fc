// A slot becomes the gradient as it is.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %p: tensor<48x40xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 0 : index},
      %m: tensor<48x40xf32> {stepforge.name = "/m", stepforge.role = "slot", stepforge.result = 1 : index},
      %g: tensor<48x40xf32> {stepforge.name = "/w", stepforge.role = "gradient"})
      -> (tensor<48x40xf32>, tensor<48x40xf32>) {
    %change = arith.subf %g, %m : tensor<48x40xf32>
    %new_p = arith.subf %p, %change : tensor<48x40xf32>
    return %new_p, %g : tensor<48x40xf32>, tensor<48x40xf32>
  }
}
