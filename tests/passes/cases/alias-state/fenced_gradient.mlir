// RUN: alias-state
// An update is fenced from what makes its gradient, and comes after everything else: the product
// reads the old weights.
// CHECK-LABEL: func.func @step
// CHECK: %[[G:.*]] = linalg.transpose
// CHECK: linalg.reduce
// CHECK: %[[FENCED:.*]] = iree_tensor_ext.compute_barrier.start %[[G]]
// CHECK: linalg.generic
// CHECK-SAME: ins(%arg0, %[[FENCED]]
// CHECK-NEXT: bb0
#map = affine_map<(d0, d1) -> (d0, d1)>
func.func @step(%p: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index}) -> (tensor<4x4xf32>, tensor<f32>) {
  %out = tensor.empty() : tensor<4x4xf32>
  %g = linalg.transpose ins(%p : tensor<4x4xf32>) outs(%out : tensor<4x4xf32>) permutation = [1, 0]
  %new = linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel", "parallel"]}
      ins(%p, %g : tensor<4x4xf32>, tensor<4x4xf32>) outs(%out : tensor<4x4xf32>) {
  ^bb0(%pe: f32, %ge: f32, %o: f32):
    %p1 = arith.subf %pe, %ge : f32
    linalg.yield %p1 : f32
  } -> tensor<4x4xf32>
  %zero = arith.constant 0.0 : f32
  %out0 = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out0 : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce { arith.addf } ins(%p : tensor<4x4xf32>) outs(%init : tensor<f32>) dimensions = [0, 1]
  return %new, %sum : tensor<4x4xf32>, tensor<f32>
}
