// RUN: alias-state allow_copies=true
// Where copies are allowed, what cannot be made in place is made elsewhere, and copied by a loop
// that IREE cannot look through.
// CHECK-LABEL: func.func @step
// CHECK-SAME: iree.abi.output = 0 : index
// CHECK: %[[ZERO:.*]] = util.optimization_barrier
// CHECK: %[[T:.*]] = linalg.transpose
// CHECK: %[[FENCED:.*]] = iree_tensor_ext.compute_barrier.start %[[T]]
// CHECK: %[[COPY:.*]] = linalg.generic
// CHECK-SAME: ins(%[[FENCED]]
// CHECK: arith.xori %{{.*}}, %[[ZERO]]
// CHECK: return %[[COPY]]
func.func @step(%p: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/w", stepforge.result = 0 : index}) -> tensor<4x4xf32> {
  %out = tensor.empty() : tensor<4x4xf32>
  %t = linalg.transpose ins(%p : tensor<4x4xf32>) outs(%out : tensor<4x4xf32>) permutation = [1, 0]
  return %t : tensor<4x4xf32>
}
