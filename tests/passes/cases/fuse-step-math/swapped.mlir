// RUN: fuse-step-math
// States that change places are one loop that yields them exchanged; alias-state hides that.
// CHECK-LABEL: func.func @step
// CHECK: %[[NEW:.*]]:2 = linalg.generic
// CHECK-SAME: ins(%arg1, %arg0 :
// CHECK: linalg.yield %in, %in_0
// CHECK: return %[[NEW]]#0, %[[NEW]]#1
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %q: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index}) -> (tensor<8xf32>, tensor<8xf32>) {
  return %q, %p : tensor<8xf32>, tensor<8xf32>
}
