// RUN: choose-tiles backend=cpu vector_bytes=64
// EXECUTE: close
// Four parts at a time, of each sixteen neighbours.
// CHECK: distribution = [4, 0, 0], vector_common_parallel = [4, 0, 0], vector_reduction = [0, 1, 16]
// CHECK: %{{.*}} = linalg.generic {{.*}}"reduction", "reduction"]{{.*}}compilation_info
// CHECK-NOT: compilation_info
// CHECK: return
func.func @step(%g: tensor<8x16x16xf32>, %h: tensor<8x16x16xf32>, %i: tensor<8x16x15xf32>) -> (tensor<8xf32>, tensor<8xf32>) {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<8xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<8xf32>) -> tensor<8xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(p, i, l) -> (p, i, l)>, affine_map<(p, i, l) -> (p, i, l)>, affine_map<(p, i, l) -> (p)>], iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%g, %h : tensor<8x16x16xf32>, tensor<8x16x16xf32>) outs(%f : tensor<8xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.addf %a, %b : f32
    %t = arith.addf %o, %m : f32
    linalg.yield %t : f32
  } -> tensor<8xf32>
  %r1 = linalg.generic {indexing_maps = [affine_map<(p, i, l) -> (p, i, l)>, affine_map<(p, i, l) -> (p)>], iterator_types = ["parallel", "reduction", "reduction"]}
      ins(%i : tensor<8x16x15xf32>) outs(%f : tensor<8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %t = arith.addf %o, %a : f32
    linalg.yield %t : f32
  } -> tensor<8xf32>
  return %r, %r1 : tensor<8xf32>, tensor<8xf32>
}
