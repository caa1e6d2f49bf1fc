// RUN: alias-state
// REFUSED: parameter /a, parameter /b read each other's old values, and no order of their updates keeps them
// REFUSED: Give them one shape, so that one loop updates them together
#map = affine_map<(d0, d1) -> (d0, d1)>
#rows = affine_map<(d0, d1) -> (d0)>
#map1 = affine_map<(d0) -> (d0)>
func.func @step(%a: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %b: tensor<4xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index}) -> (tensor<4x4xf32>, tensor<4xf32>) {
  %out = tensor.empty() : tensor<4x4xf32>
  %new_a = linalg.generic {indexing_maps = [#map, #rows, #map], iterator_types = ["parallel", "parallel"]}
      ins(%a, %b : tensor<4x4xf32>, tensor<4xf32>) outs(%out : tensor<4x4xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %z = arith.addf %x, %y : f32
    linalg.yield %z : f32
  } -> tensor<4x4xf32>
  %row = tensor.extract_slice %a[0, 0] [1, 4] [1, 1] : tensor<4x4xf32> to tensor<4xf32>
  %out1 = tensor.empty() : tensor<4xf32>
  %new_b = linalg.generic {indexing_maps = [#map1, #map1, #map1], iterator_types = ["parallel"]}
      ins(%b, %row : tensor<4xf32>, tensor<4xf32>) outs(%out1 : tensor<4xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %z = arith.addf %x, %y : f32
    linalg.yield %z : f32
  } -> tensor<4xf32>
  return %new_a, %new_b : tensor<4x4xf32>, tensor<4xf32>
}
