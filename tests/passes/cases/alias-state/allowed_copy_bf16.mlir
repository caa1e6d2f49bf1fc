// RUN: alias-state allow_copies=true
// The same in 16 bits.
// CHECK-LABEL: func.func @step
// CHECK-SAME: iree.abi.output = 0 : index
// CHECK: %[[ZERO:.*]] = util.optimization_barrier
// CHECK: %[[T:.*]] = linalg.transpose
// CHECK: %[[FENCED:.*]] = iree_tensor_ext.compute_barrier.start %[[T]]
// CHECK: %[[COPY:.*]] = linalg.generic
// CHECK-SAME: ins(%[[FENCED]]
// CHECK: arith.trunci %[[ZERO]] : i32 to i16
// CHECK: return %[[COPY]]
func.func @step(%p: tensor<4x4xbf16> {stepforge.role = "parameter", stepforge.name = "/w", stepforge.result = 0 : index}) -> tensor<4x4xbf16> {
  %out = tensor.empty() : tensor<4x4xbf16>
  %t = linalg.transpose ins(%p : tensor<4x4xbf16>) outs(%out : tensor<4x4xbf16>) permutation = [1, 0]
  return %t : tensor<4x4xbf16>
}
