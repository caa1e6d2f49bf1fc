// RUN: choose-tiles backend=cpu vector_bytes=16
// EXECUTE: no
// Nothing was measured with vectors of 16 bytes.
// CHECK-NOT: compilation_info
// CHECK: return
func.func @step(%a0: tensor<128x32xf32>, %b0: tensor<32x128xf32>) -> (tensor<128x128xf32>) {
  %z = arith.constant 0.0 : f32
  %e0 = tensor.empty() : tensor<128x128xf32>
  %c0 = linalg.fill ins(%z : f32) outs(%e0 : tensor<128x128xf32>) -> tensor<128x128xf32>
  %r0 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a0, %b0 : tensor<128x32xf32>, tensor<32x128xf32>) outs(%c0 : tensor<128x128xf32>) -> tensor<128x128xf32>
  return %r0 : tensor<128x128xf32>
}
