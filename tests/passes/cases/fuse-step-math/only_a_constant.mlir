// RUN: fuse-step-math
// A new value that depends on nothing is a loop without inputs.
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic
// CHECK-NOT: ins(
// CHECK: linalg.yield
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index}, %lr: f32) -> tensor<8xf32> {
  %lr0 = tensor.from_elements %lr : tensor<f32>
  %out = tensor.empty() : tensor<8xf32>
  %new_p = linalg.broadcast ins(%lr0 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  return %new_p : tensor<8xf32>
}
