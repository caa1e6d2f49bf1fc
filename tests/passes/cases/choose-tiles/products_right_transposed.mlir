// RUN: choose-tiles backend=cpu vector_bytes=64
// Terms lie side by side: IREE transposes 16 columns at a time, for more rows than of its own accord.
// CHECK: distribution = [40, 64, 0], vector_common_parallel = [16, 16, 0], vector_reduction = [0, 0, 4]
// CHECK: linalg.contract{{.*}}compilation_info
func.func @step(%a0: tensor<40x77xf32>, %b0: tensor<100x77xf32>) -> (tensor<40x100xf32>) {
  %z = arith.constant 0.0 : f32
  %e0 = tensor.empty() : tensor<40x100xf32>
  %c0 = linalg.fill ins(%z : f32) outs(%e0 : tensor<40x100xf32>) -> tensor<40x100xf32>
  %r0 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a0, %b0 : tensor<40x77xf32>, tensor<100x77xf32>) outs(%c0 : tensor<40x100xf32>) -> tensor<40x100xf32>
  return %r0 : tensor<40x100xf32>
}
