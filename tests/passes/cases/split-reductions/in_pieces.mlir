// RUN: split-reductions backend=cpu vector_bytes=32
// EXECUTE: close
// A part is read as (passes, pieces, neighbours); the pieces are added neighbour by neighbour.
// CHECK: %[[CUT:.*]] = tensor.expand_shape %{{.*}} {{\[}}[0, 1, 2, 3]] output_shape [8, 16, 32, 16]
// CHECK: tensor.extract_slice %[[CUT]][0, 0, 31, 0] [8, 16, 1, 16]
// CHECK: linalg.generic {{.*}}iterator_types = ["parallel", "reduction", "reduction"]
// CHECK-COUNT-32: arith.mulf
// CHECK-NOT: arith.mulf
// CHECK: iree_tensor_ext.compute_barrier.start
// CHECK: iterator_types = ["reduction"]
func.func @step(%g: tensor<65536xf32>, %s: tensor<f32>) -> tensor<f32> {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<f32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<f32>) -> tensor<f32>
  %r = linalg.generic {indexing_maps = [affine_map<(i) -> (i)>, affine_map<(i) -> ()>, affine_map<(i) -> ()>], iterator_types = ["reduction"]}
      ins(%g, %s : tensor<65536xf32>, tensor<f32>) outs(%f : tensor<f32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %m = arith.mulf %a, %b : f32
    %t = arith.addf %o, %m : f32
    linalg.yield %t : f32
  } -> tensor<f32>
  return %r : tensor<f32>
}
