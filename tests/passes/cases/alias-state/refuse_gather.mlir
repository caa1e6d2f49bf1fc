// RUN: alias-state
// REFUSED: parameter /a: its new value at one element needs its old value at another
#map = affine_map<(d0) -> (d0)>
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index}) -> tensor<8xf32> {
  %out = tensor.empty() : tensor<8xf32>
  %new = linalg.generic {indexing_maps = [#map, #map], iterator_types = ["parallel"]} ins(%a : tensor<8xf32>) outs(%out : tensor<8xf32>) {
  ^bb0(%x: f32, %o: f32):
    %seven = arith.constant 7 : index
    %i = linalg.index 0 : index
    %j = arith.subi %seven, %i : index
    %y = tensor.extract %a[%j] : tensor<8xf32>
    linalg.yield %y : f32
  } -> tensor<8xf32>
  return %new : tensor<8xf32>
}
