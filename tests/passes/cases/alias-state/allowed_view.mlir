// RUN: alias-state allow_copies=true
// CHECK-LABEL: func.func @step
// CHECK: %[[NEW:.*]] = linalg.generic
// CHECK: %[[FENCED:.*]] = iree_tensor_ext.compute_barrier.start %[[NEW]]
// CHECK: %[[COPY:.*]] = linalg.generic
// CHECK-SAME: ins(%[[FENCED]]
// CHECK: return %[[COPY]]
#map = affine_map<(d0) -> (d0)>
#none = affine_map<(d0) -> ()>
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index}) -> tensor<8xf32> {
  %first = tensor.extract_slice %a[0] [1] [1] : tensor<8xf32> to tensor<f32>
  %fenced = iree_tensor_ext.compute_barrier.start %first : tensor<f32> -> tensor<f32>
  %out = tensor.empty() : tensor<8xf32>
  %new = linalg.generic {indexing_maps = [#map, #none, #map], iterator_types = ["parallel"]}
      ins(%a, %fenced : tensor<8xf32>, tensor<f32>) outs(%out : tensor<8xf32>) {
  ^bb0(%x: f32, %y: f32, %o: f32):
    %z = arith.addf %x, %y : f32
    linalg.yield %z : f32
  } -> tensor<8xf32>
  return %new : tensor<8xf32>
}
