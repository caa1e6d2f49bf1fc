// RUN: alias-state
// A variable that keeps its value keeps its buffer.
// CHECK-LABEL: func.func @step
// CHECK-SAME: %arg0: tensor<8xf32> {iree.abi.output = 0 : index
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index}) -> tensor<8xf32> {
  return %p : tensor<8xf32>
}
