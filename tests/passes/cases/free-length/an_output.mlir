// RUN: free-length
// REFUSED: result 1 of @step, a tensor<16xf32>, is no new state of the variable
#id = affine_map<(d0) -> (d0)>
module attributes {stepforge.free_length} {
  func.func @step(%p: tensor<16xf32> {stepforge.name = "/*", stepforge.role = "parameter", stepforge.result = 0 : index}) -> (tensor<16xf32>, tensor<16xf32>) {
    %e = tensor.empty() : tensor<16xf32>
    %r:2 = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]} ins(%p : tensor<16xf32>) outs(%e, %e : tensor<16xf32>, tensor<16xf32>) {
    ^bb0(%a: f32, %o0: f32, %o1: f32):
      %q = arith.mulf %a, %a : f32
      linalg.yield %q, %a : f32, f32
    } -> (tensor<16xf32>, tensor<16xf32>)
    return %r#0, %r#1 : tensor<16xf32>, tensor<16xf32>
  }
}
