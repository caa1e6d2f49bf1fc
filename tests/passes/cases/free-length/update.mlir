// RUN: free-length
// The length is the first tensor's; each tensor becomes an arena, and a host scalar stays.
// CHECK: tensor<?xf32> {stepforge.members = {align = 16 : index, names = ["/*"], size = 8796093022208 : index}, stepforge.name = "@arena0", stepforge.result = 0 : index, stepforge.role = "parameter"}
// CHECK-SAME: names = ["/m/*"]
// CHECK-SAME: stepforge.name = "@arena1"
// CHECK-SAME: names = ["/*"]
// CHECK-SAME: stepforge.name = "@arena2", stepforge.role = "gradient"
// CHECK: tensor.dim %arg0
// CHECK: tensor.empty(%dim) : tensor<?xf32>
// CHECK: linalg.generic
// CHECK: return %{{.*}}#0, %{{.*}}#1 : tensor<?xf32>, tensor<?xf32>
#id = affine_map<(d0) -> (d0)>
module attributes {stepforge.free_length} {
  func.func @step(%p: tensor<16xf32> {stepforge.name = "/*", stepforge.role = "parameter", stepforge.result = 0 : index},
                  %m: tensor<16xf32> {stepforge.name = "/m/*", stepforge.role = "slot", stepforge.result = 1 : index},
                  %g: tensor<16xf32> {stepforge.name = "/*", stepforge.role = "gradient"},
                  %rate: f32 {stepforge.name = "/rate", stepforge.role = "hyperparameter"}) -> (tensor<16xf32>, tensor<16xf32>) {
    %e = tensor.empty() : tensor<16xf32>
    %r:2 = linalg.generic {indexing_maps = [#id, #id, #id, #id, #id], iterator_types = ["parallel"]}
        ins(%p, %m, %g : tensor<16xf32>, tensor<16xf32>, tensor<16xf32>) outs(%e, %e : tensor<16xf32>, tensor<16xf32>) {
    ^bb0(%a: f32, %b: f32, %c: f32, %o0: f32, %o1: f32):
      %n = arith.addf %b, %c : f32
      %s = arith.mulf %rate, %n : f32
      %q = arith.subf %a, %s : f32
      linalg.yield %q, %n : f32, f32
    } -> (tensor<16xf32>, tensor<16xf32>)
    return %r#0, %r#1 : tensor<16xf32>, tensor<16xf32>
  }
}
