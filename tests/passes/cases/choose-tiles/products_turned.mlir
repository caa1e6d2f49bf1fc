// RUN: choose-tiles backend=cpu vector_bytes=64
// Terms lie side by side in the right operand: for many rows it is transposed, once for both products.
// CHECK: %[[TURNED:.*]] = linalg.transpose ins(%[[RIGHT:.*]] : tensor<192x256xf32>)
// CHECK: %[[FENCED:.*]] = iree_tensor_ext.compute_barrier.start %[[TURNED]]
// CHECK: linalg.contract indexing_maps = [#{{.*}}, #[[ROWS:map[0-9]*]], #{{.*}}] {compilation_info = {{.*}}} ins(%{{.*}}, %[[FENCED]]
// CHECK-NOT: linalg.transpose
// CHECK: linalg.contract indexing_maps = [#{{.*}}, #[[ROWS]], #{{.*}}] {compilation_info = {{.*}}} ins(%{{.*}}, %[[FENCED]]
func.func @step(%a: tensor<128x256xf32>, %b: tensor<192x256xf32>, %c: tensor<130x256xf32>) -> (tensor<128x192xf32>, tensor<130x192xf32>) {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<128x192xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<128x192xf32>) -> tensor<128x192xf32>
  %r = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%a, %b : tensor<128x256xf32>, tensor<192x256xf32>) outs(%f : tensor<128x192xf32>) -> tensor<128x192xf32>
  %e1 = tensor.empty() : tensor<130x192xf32>
  %f1 = linalg.fill ins(%z : f32) outs(%e1 : tensor<130x192xf32>) -> tensor<130x192xf32>
  %r1 = linalg.contract indexing_maps = [affine_map<(m, n, k) -> (m, k)>, affine_map<(m, n, k) -> (n, k)>, affine_map<(m, n, k) -> (m, n)>]
      ins(%c, %b : tensor<130x256xf32>, tensor<192x256xf32>) outs(%f1 : tensor<130x192xf32>) -> tensor<130x192xf32>
  return %r, %r1 : tensor<128x192xf32>, tensor<130x192xf32>
}
