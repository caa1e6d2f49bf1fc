// RUN: alias-state allow_copies=true
// Where copies are allowed, the state that cannot be in place gets a new buffer.
// CHECK-LABEL: func.func @step
// CHECK-NOT: iree.abi.output
// CHECK: linalg.transpose
func.func @step(%p: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/w", stepforge.result = 0 : index}) -> tensor<4x4xf32> {
  %out = tensor.empty() : tensor<4x4xf32>
  %t = linalg.transpose ins(%p : tensor<4x4xf32>) outs(%out : tensor<4x4xf32>) permutation = [1, 0]
  return %t : tensor<4x4xf32>
}
