// RUN: alias-state
// REFUSED: parameter /a: the loop that makes its new value is read by linalg.reduce too
#map = affine_map<(d0) -> (d0)>
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index}) -> (tensor<8xf32>, tensor<f32>) {
  %out = tensor.empty() : tensor<8xf32>
  %new = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%a : tensor<8xf32>) outs(%out : tensor<8xf32>) {
  ^bb0(%x: f32, %o: f32):
    %z = arith.addf %x, %x : f32
    linalg.yield %z : f32
  } -> tensor<8xf32>
  %zero = arith.constant 0.0 : f32
  %out0 = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out0 : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce { arith.addf } ins(%new : tensor<8xf32>) outs(%init : tensor<f32>) dimensions = [0]
  return %new, %sum : tensor<8xf32>, tensor<f32>
}
