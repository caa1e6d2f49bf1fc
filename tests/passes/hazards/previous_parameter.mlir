// A slot keeps the old parameter: the loop that replaces the parameter must still read it.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %p: tensor<48x40xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 0 : index},
      %m: tensor<48x40xf32> {stepforge.name = "/m", stepforge.role = "slot", stepforge.result = 1 : index},
      %g: tensor<48x40xf32> {stepforge.name = "/w", stepforge.role = "gradient"})
      -> (tensor<48x40xf32>, tensor<48x40xf32>) {
    %back = arith.subf %p, %m : tensor<48x40xf32>
    %step = arith.addf %g, %back : tensor<48x40xf32>
    %new_p = arith.subf %p, %step : tensor<48x40xf32>
    return %new_p, %p : tensor<48x40xf32>, tensor<48x40xf32>
  }
}
