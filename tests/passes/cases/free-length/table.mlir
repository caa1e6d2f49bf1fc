// RUN: free-length
// A table of host scalars keeps its length, also where it is that of the variable.
// CHECK: tensor<?xf32> {stepforge.members
// CHECK-SAME: tensor<16xf32> {stepforge.name = "scalars", stepforge.role = "scalars"}
// CHECK: ins(%arg0, %arg1 : tensor<?xf32>, tensor<16xf32>)
#id = affine_map<(d0) -> (d0)>
#third = affine_map<(d0) -> (3)>
module attributes {stepforge.free_length} {
  func.func @step(%p: tensor<16xf32> {stepforge.name = "/*", stepforge.role = "parameter", stepforge.result = 0 : index},
                  %t: tensor<16xf32> {stepforge.name = "scalars", stepforge.role = "scalars"}) -> tensor<16xf32> {
    %e = tensor.empty() : tensor<16xf32>
    %r = linalg.generic {indexing_maps = [#id, #third, #id], iterator_types = ["parallel"]}
        ins(%p, %t : tensor<16xf32>, tensor<16xf32>) outs(%e : tensor<16xf32>) {
    ^bb0(%a: f32, %b: f32, %o: f32):
      %q = arith.mulf %a, %b : f32
      linalg.yield %q : f32
    } -> tensor<16xf32>
    return %r : tensor<16xf32>
  }
}
