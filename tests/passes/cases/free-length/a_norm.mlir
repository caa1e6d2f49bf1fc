// RUN: free-length
// REFUSED: linalg.reduce at
// REFUSED: combines elements, which needs a length that is known when the step is compiled
#id = affine_map<(d0) -> (d0)>
module attributes {stepforge.free_length} {
  func.func @step(%p: tensor<16xf32> {stepforge.name = "/*", stepforge.role = "parameter", stepforge.result = 0 : index}) -> tensor<16xf32> {
    %zero = arith.constant 0.0 : f32
    %s = tensor.empty() : tensor<f32>
    %start = linalg.fill ins(%zero : f32) outs(%s : tensor<f32>) -> tensor<f32>
    %sum = linalg.reduce { arith.addf } ins(%p : tensor<16xf32>) outs(%start : tensor<f32>) dimensions = [0]
    %e = tensor.empty() : tensor<16xf32>
    %r = linalg.generic {indexing_maps = [#id, affine_map<(d0) -> ()>, #id], iterator_types = ["parallel"]}
        ins(%p, %sum : tensor<16xf32>, tensor<f32>) outs(%e : tensor<16xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %q = arith.mulf %a, %b : f32
      linalg.yield %q : f32
    } -> tensor<16xf32>
    return %r : tensor<16xf32>
  }
}
