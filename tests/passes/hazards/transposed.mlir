// The new value is the old one with rows and columns exchanged: it is made elsewhere.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %p: tensor<40x40xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 0 : index},
      %g: tensor<40x40xf32> {stepforge.name = "/w", stepforge.role = "gradient"})
      -> (tensor<40x40xf32>) {
    %new = arith.subf %p, %g : tensor<40x40xf32>
    %out = tensor.empty() : tensor<40x40xf32>
    %turned = linalg.transpose ins(%new : tensor<40x40xf32>) outs(%out : tensor<40x40xf32>) permutation = [1, 0]
    return %turned : tensor<40x40xf32>
  }
}
