// RUN: choose-tiles backend=cpu vector_bytes=64
// EXECUTE: no
// Only float32 was measured.
// CHECK-NOT: compilation_info
// CHECK: return
func.func @step(%a0: tensor<64x64xi32>, %b0: tensor<64x64xi32>) -> (tensor<64x64xi32>) {
  %z = arith.constant 0 : i32
  %e0 = tensor.empty() : tensor<64x64xi32>
  %c0 = linalg.fill ins(%z : i32) outs(%e0 : tensor<64x64xi32>) -> tensor<64x64xi32>
  %r0 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a0, %b0 : tensor<64x64xi32>, tensor<64x64xi32>) outs(%c0 : tensor<64x64xi32>) -> tensor<64x64xi32>
  return %r0 : tensor<64x64xi32>
}
