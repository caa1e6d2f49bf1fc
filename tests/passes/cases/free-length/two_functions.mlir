// RUN: free-length
// Functions share the arenas of what they share; one that replaces no state stays as it is.
// CHECK: func.func @step(%arg0: tensor<?xf32> {{.*}}"@arena0"
// CHECK: func.func @other(%arg0: tensor<?xf32> {{.*}}"@arena0"
// CHECK: func.func @self_test(%arg0: tensor<16xf32>
#id = affine_map<(d0) -> (d0)>
module attributes {stepforge.free_length} {
  func.func @step(%p: tensor<16xf32> {stepforge.name = "/*", stepforge.role = "parameter", stepforge.result = 0 : index}) -> tensor<16xf32> {
    %e = tensor.empty() : tensor<16xf32>
    %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%p : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%a: f32, %o: f32):
      %q = arith.mulf %a, %a : f32
      linalg.yield %q : f32
    } -> tensor<16xf32>
    return %r : tensor<16xf32>
  }
  func.func @other(%p: tensor<16xf32> {stepforge.name = "/*", stepforge.role = "parameter", stepforge.result = 0 : index}) -> tensor<16xf32> {
    %e = tensor.empty() : tensor<16xf32>
    %r = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%p : tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%a: f32, %o: f32):
      %q = arith.addf %a, %a : f32
      linalg.yield %q : f32
    } -> tensor<16xf32>
    return %r : tensor<16xf32>
  }
  func.func @self_test(%x: tensor<16xf32> {stepforge.name = "x", stepforge.role = "input"}) -> tensor<16xf32> {
    return %x : tensor<16xf32>
  }
}
