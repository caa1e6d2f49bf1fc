// RUN: choose-tiles backend=vulkan
// CHECK-NOT: compilation_info
// CHECK: return
func.func @step(%p: tensor<64x256xf32>, %m: tensor<64x256xi8>, %s: tensor<64xf32>) -> (tensor<64x256xf32>, tensor<64x256xi8>) {
  %e0 = tensor.empty() : tensor<64x256xf32>
  %e1 = tensor.empty() : tensor<64x256xi8>
  %r:2 = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0)>,
                                          affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>],
                         iterator_types = ["parallel", "parallel"]}
      ins(%p, %m, %s : tensor<64x256xf32>, tensor<64x256xi8>, tensor<64xf32>) outs(%e0, %e1 : tensor<64x256xf32>, tensor<64x256xi8>) {
  ^bb0(%a: f32, %b: i8, %c: f32, %o0: f32, %o1: i8):
    %f = arith.sitofp %b : i8 to f32
    %g = arith.mulf %f, %c : f32
    %x = arith.subf %a, %g : f32
    %y = arith.addi %b, %b : i8
    linalg.yield %x, %y : f32, i8
  } -> (tensor<64x256xf32>, tensor<64x256xi8>)
  return %r#0, %r#1 : tensor<64x256xf32>, tensor<64x256xi8>
}
