// RUN: free-length
// CHECK: func.func @step(%arg0: tensor<16xf32> {stepforge.name = "/w"
// CHECK-NOT: tensor<?x
// CHECK: return
#id = affine_map<(d0) -> (d0)>
func.func @step(%p: tensor<16xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 0 : index}) -> tensor<16xf32> {
  %e = tensor.empty() : tensor<16xf32>
  %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]}
      ins(%p : tensor<16xf32>) outs(%e : tensor<16xf32>) {
  ^bb0(%a: f32, %o: f32):
    %q = arith.mulf %a, %a : f32
    linalg.yield %q : f32
  } -> tensor<16xf32>
  return %r : tensor<16xf32>
}
