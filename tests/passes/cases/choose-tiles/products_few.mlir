// RUN: choose-tiles backend=cpu vector_bytes=64
// EXECUTE: no
// Few rows, columns or terms: IREE's tiles are as good.
// CHECK-NOT: compilation_info
// CHECK: return
func.func @step(%a0: tensor<9x64xf32>, %b0: tensor<64x64xf32>, %a1: tensor<64x64xf32>, %b1: tensor<64x10xf32>, %a2: tensor<64x9xf32>, %b2: tensor<9x64xf32>) -> (tensor<9x64xf32>, tensor<64x10xf32>, tensor<64x64xf32>) {
  %z = arith.constant 0.0 : f32
  %e0 = tensor.empty() : tensor<9x64xf32>
  %c0 = linalg.fill ins(%z : f32) outs(%e0 : tensor<9x64xf32>) -> tensor<9x64xf32>
  %r0 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a0, %b0 : tensor<9x64xf32>, tensor<64x64xf32>) outs(%c0 : tensor<9x64xf32>) -> tensor<9x64xf32>
  %e1 = tensor.empty() : tensor<64x10xf32>
  %c1 = linalg.fill ins(%z : f32) outs(%e1 : tensor<64x10xf32>) -> tensor<64x10xf32>
  %r1 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a1, %b1 : tensor<64x64xf32>, tensor<64x10xf32>) outs(%c1 : tensor<64x10xf32>) -> tensor<64x10xf32>
  %e2 = tensor.empty() : tensor<64x64xf32>
  %c2 = linalg.fill ins(%z : f32) outs(%e2 : tensor<64x64xf32>) -> tensor<64x64xf32>
  %r2 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a2, %b2 : tensor<64x9xf32>, tensor<9x64xf32>) outs(%c2 : tensor<64x64xf32>) -> tensor<64x64xf32>
  return %r0, %r1, %r2 : tensor<9x64xf32>, tensor<64x10xf32>, tensor<64x64xf32>
}
