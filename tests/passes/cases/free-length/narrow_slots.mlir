// RUN: free-length backend=vulkan
// The narrowest element decides where parts begin, the widest how many fit into a binding of 128 MiB.
// CHECK: align = 32 : index, names = ["/*"], size = 33554432 : index
// CHECK-SAME: align = 32 : index, names = ["/m/*"], size = 33554432 : index
// CHECK: tensor.empty(%dim) : tensor<?xf32>
// CHECK: tensor.empty(%dim) : tensor<?xbf16>
#id = affine_map<(d0) -> (d0)>
module attributes {stepforge.free_length} {
  func.func @step(%p: tensor<16xf32> {stepforge.name = "/*", stepforge.role = "parameter", stepforge.result = 0 : index},
                  %m: tensor<16xbf16> {stepforge.name = "/m/*", stepforge.role = "slot", stepforge.result = 1 : index}) -> (tensor<16xf32>, tensor<16xbf16>) {
    %e = tensor.empty() : tensor<16xf32>
    %f = tensor.empty() : tensor<16xbf16>
    %r:2 = linalg.generic {indexing_maps = [#id, #id, #id, #id], iterator_types = ["parallel"]}
        ins(%p, %m : tensor<16xf32>, tensor<16xbf16>) outs(%e, %f : tensor<16xf32>, tensor<16xbf16>) {
    ^bb0(%a: f32, %b: bf16, %o0: f32, %o1: bf16):
      %w = arith.extf %b : bf16 to f32
      %n = arith.addf %w, %a : f32
      %t = arith.truncf %n : f32 to bf16
      linalg.yield %n, %t : f32, bf16
    } -> (tensor<16xf32>, tensor<16xbf16>)
    return %r#0, %r#1 : tensor<16xf32>, tensor<16xbf16>
  }
}
