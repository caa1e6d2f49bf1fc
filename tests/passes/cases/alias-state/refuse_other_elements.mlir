// RUN: alias-state
// REFUSED: parameter /a: its new value at one element needs its old value at another
#map = affine_map<(d0, d1) -> (d0, d1)>
#turned = affine_map<(d0, d1) -> (d1, d0)>
func.func @step(%a: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index}) -> tensor<4x4xf32> {
  %out = tensor.empty() : tensor<4x4xf32>
  %new = linalg.generic {indexing_maps = [#map, #turned, #map], iterator_types = ["parallel", "parallel"]}
      ins(%a, %a : tensor<4x4xf32>, tensor<4x4xf32>) outs(%out : tensor<4x4xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %z = arith.addf %x, %y : f32
    linalg.yield %z : f32
  } -> tensor<4x4xf32>
  return %new : tensor<4x4xf32>
}
