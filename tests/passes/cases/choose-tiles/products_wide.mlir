// RUN: choose-tiles backend=cpu vector_bytes=64
// Six rows of four vectors of sums fit in 32 registers; narrower products take fewer vectors.
// CHECK-DAG: distribution = [64, 64, 0], vector_common_parallel = [6, 64, 0], vector_reduction = [0, 0, 4]
// CHECK-DAG: distribution = [64, 32, 0], vector_common_parallel = [8, 32, 0], vector_reduction = [0, 0, 4]
// CHECK-DAG: distribution = [37, 64, 0], vector_common_parallel = [8, 16, 0], vector_reduction = [0, 0, 4]
// CHECK: func.func
// CHECK-COUNT-4: linalg.contract{{.*}}compilation_info
func.func @step(%a0: tensor<128x65xf32>, %b0: tensor<65x128xf32>, %a1: tensor<48x96xf32>, %b1: tensor<48x64xf32>, %a2: tensor<70x16xf32>, %b2: tensor<16x32xf32>, %a3: tensor<37x33xf32>, %b3: tensor<33x103xf32>) -> (tensor<128x128xf32>, tensor<96x64xf32>, tensor<70x32xf32>, tensor<37x103xf32>) {
  %z = arith.constant 0.0 : f32
  %e0 = tensor.empty() : tensor<128x128xf32>
  %c0 = linalg.fill ins(%z : f32) outs(%e0 : tensor<128x128xf32>) -> tensor<128x128xf32>
  %r0 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a0, %b0 : tensor<128x65xf32>, tensor<65x128xf32>) outs(%c0 : tensor<128x128xf32>) -> tensor<128x128xf32>
  %e1 = tensor.empty() : tensor<96x64xf32>
  %c1 = linalg.fill ins(%z : f32) outs(%e1 : tensor<96x64xf32>) -> tensor<96x64xf32>
  %r1 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (k, m)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a1, %b1 : tensor<48x96xf32>, tensor<48x64xf32>) outs(%c1 : tensor<96x64xf32>) -> tensor<96x64xf32>
  %e2 = tensor.empty() : tensor<70x32xf32>
  %c2 = linalg.fill ins(%z : f32) outs(%e2 : tensor<70x32xf32>) -> tensor<70x32xf32>
  %r2 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a2, %b2 : tensor<70x16xf32>, tensor<16x32xf32>) outs(%c2 : tensor<70x32xf32>) -> tensor<70x32xf32>
  %e3 = tensor.empty() : tensor<37x103xf32>
  %c3 = linalg.fill ins(%z : f32) outs(%e3 : tensor<37x103xf32>) -> tensor<37x103xf32>
  %r3 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (k, n)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a3, %b3 : tensor<37x33xf32>, tensor<33x103xf32>) outs(%c3 : tensor<37x103xf32>) -> tensor<37x103xf32>
  return %r0, %r1, %r2, %r3 : tensor<128x128xf32>, tensor<96x64xf32>, tensor<70x32xf32>, tensor<37x103xf32>
}
