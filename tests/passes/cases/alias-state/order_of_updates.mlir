// RUN: alias-state
// The scale is read by the update of the parameter, so it is written after it.
// CHECK-LABEL: func.func @step
// CHECK: %[[P:.*]] = linalg.generic
// CHECK-SAME: ins(%arg0, %arg1 : tensor<8xf32>, tensor<f32>)
// CHECK: %[[S:.*]] = linalg.generic
// CHECK-SAME: ins(%arg1 : tensor<f32>)
// CHECK: return %[[P]], %[[S]]
#map = affine_map<(d0) -> (d0)>
#none = affine_map<(d0) -> ()>
#rank0 = affine_map<() -> ()>
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %s: tensor<f32> {stepforge.role = "buffer", stepforge.name = "/scale", stepforge.result = 1 : index}) -> (tensor<8xf32>, tensor<f32>) {
  %out0 = tensor.empty() : tensor<f32>
  %new_s = linalg.generic {indexing_maps = [#rank0, #rank0], iterator_types = []} ins(%s : tensor<f32>) outs(%out0 : tensor<f32>) {
  ^bb0(%x: f32, %o: f32):
    %y = arith.addf %x, %x : f32
    linalg.yield %y : f32
  } -> tensor<f32>
  %out = tensor.empty() : tensor<8xf32>
  %new_p = linalg.generic {indexing_maps = [#map, #none, #map], iterator_types = ["parallel"]}
      ins(%p, %s : tensor<8xf32>, tensor<f32>) outs(%out : tensor<8xf32>) {
  ^bb0(%pe: f32, %x: f32, %o: f32):
    %p1 = arith.mulf %pe, %x : f32
    linalg.yield %p1 : f32
  } -> tensor<8xf32>
  return %new_p, %new_s : tensor<8xf32>, tensor<f32>
}
