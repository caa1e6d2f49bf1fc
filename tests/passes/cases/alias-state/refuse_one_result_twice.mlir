// RUN: alias-state
// REFUSED: result 0 is the new value of parameter /a and of parameter /b: return it twice
#map = affine_map<(d0) -> (d0)>
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %b: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 0 : index}) -> tensor<8xf32> {
  %out = tensor.empty() : tensor<8xf32>
  %new = linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel"]}
      ins(%a, %b : tensor<8xf32>, tensor<8xf32>) outs(%out : tensor<8xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %z = arith.addf %x, %y : f32
    linalg.yield %z : f32
  } -> tensor<8xf32>
  return %new : tensor<8xf32>
}
