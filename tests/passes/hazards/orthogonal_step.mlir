// The momentum goes through products (Muon), and the parameter is decayed.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %p: tensor<40x40xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 0 : index},
      %m: tensor<40x40xf32> {stepforge.name = "/m", stepforge.role = "slot", stepforge.result = 1 : index},
      %g: tensor<40x40xf32> {stepforge.name = "/w", stepforge.role = "gradient"})
      -> (tensor<40x40xf32>, tensor<40x40xf32>) {
    %new_m = arith.addf %m, %g : tensor<40x40xf32>
    %zero = arith.constant 0.0 : f32
    %out = tensor.empty() : tensor<40x40xf32>
    %init = linalg.fill ins(%zero : f32) outs(%out : tensor<40x40xf32>) -> tensor<40x40xf32>
    %square = linalg.matmul ins(%new_m, %new_m : tensor<40x40xf32>, tensor<40x40xf32>) outs(%init : tensor<40x40xf32>) -> tensor<40x40xf32>
    %scale = arith.constant dense<1.0e-2> : tensor<40x40xf32>
    %small = arith.mulf %square, %scale : tensor<40x40xf32>
    %product = linalg.matmul ins(%small, %p : tensor<40x40xf32>, tensor<40x40xf32>) outs(%init : tensor<40x40xf32>) -> tensor<40x40xf32>
    %sum = arith.addf %product, %new_m : tensor<40x40xf32>
    %new_p = arith.subf %p, %sum : tensor<40x40xf32>
    return %new_p, %new_m : tensor<40x40xf32>, tensor<40x40xf32>
  }
}
