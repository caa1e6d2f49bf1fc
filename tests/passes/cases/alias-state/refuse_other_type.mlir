// RUN: alias-state
// REFUSED: the new value of parameter /a is a tensor<8xf64>, the variable is a tensor<8xf32>: cast or reshape it
#map = affine_map<(d0) -> (d0)>
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index}) -> tensor<8xf64> {
  %out = tensor.empty() : tensor<8xf64>
  %new = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%a : tensor<8xf32>) outs(%out : tensor<8xf64>) {
  ^bb0(%x: f32, %o: f64):
    %z = arith.extf %x : f32 to f64
    linalg.yield %z : f64
  } -> tensor<8xf64>
  return %new : tensor<8xf64>
}
