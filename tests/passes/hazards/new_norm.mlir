// A result reads the new parameter.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %p: tensor<48x40xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 0 : index},
      %g: tensor<48x40xf32> {stepforge.name = "/w", stepforge.role = "gradient"})
      -> (tensor<48x40xf32>, tensor<f32>) {
    %new_p = arith.subf %p, %g : tensor<48x40xf32>
    %pp = arith.mulf %new_p, %new_p : tensor<48x40xf32>
    %a_zero = arith.constant 0.0 : f32
    %a_out = tensor.empty() : tensor<f32>
    %a_init = linalg.fill ins(%a_zero : f32) outs(%a_out : tensor<f32>) -> tensor<f32>
    %a = linalg.reduce { arith.addf } ins(%pp : tensor<48x40xf32>) outs(%a_init : tensor<f32>) dimensions = [0, 1]
    return %new_p, %a : tensor<48x40xf32>, tensor<f32>
  }
}
