// A ratio of norms scales the step (LAMB): the norms read the old state that the update replaces.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %p: tensor<48x40xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 0 : index},
      %m: tensor<48x40xf32> {stepforge.name = "/m", stepforge.role = "slot", stepforge.result = 1 : index},
      %g: tensor<48x40xf32> {stepforge.name = "/w", stepforge.role = "gradient"})
      -> (tensor<48x40xf32>, tensor<48x40xf32>) {
    %half = arith.constant dense<0.5> : tensor<48x40xf32>
    %decayed = arith.mulf %m, %half : tensor<48x40xf32>
    %new_m = arith.addf %decayed, %g : tensor<48x40xf32>
    %pp = arith.mulf %p, %p : tensor<48x40xf32>
    %a_zero = arith.constant 0.0 : f32
    %a_out = tensor.empty() : tensor<f32>
    %a_init = linalg.fill ins(%a_zero : f32) outs(%a_out : tensor<f32>) -> tensor<f32>
    %a = linalg.reduce { arith.addf } ins(%pp : tensor<48x40xf32>) outs(%a_init : tensor<f32>) dimensions = [0, 1]
    %mm = arith.mulf %new_m, %new_m : tensor<48x40xf32>
    %b_zero = arith.constant 0.0 : f32
    %b_out = tensor.empty() : tensor<f32>
    %b_init = linalg.fill ins(%b_zero : f32) outs(%b_out : tensor<f32>) -> tensor<f32>
    %b = linalg.reduce { arith.addf } ins(%mm : tensor<48x40xf32>) outs(%b_init : tensor<f32>) dimensions = [0, 1]
    %ratio = arith.divf %a, %b : tensor<f32>
    %root = math.sqrt %ratio : tensor<f32>
    %roots_out = tensor.empty() : tensor<48x40xf32>
    %roots = linalg.broadcast ins(%root : tensor<f32>) outs(%roots_out : tensor<48x40xf32>) dimensions = [0, 1]
    %step = arith.mulf %roots, %new_m : tensor<48x40xf32>
    %new_p = arith.subf %p, %step : tensor<48x40xf32>
    return %new_p, %new_m : tensor<48x40xf32>, tensor<48x40xf32>
  }
}
