// RUN: fuse-step-math
// State that keeps its value does not join the variables that read it.
// CHECK-LABEL: func.func @step
// CHECK-COUNT-2: linalg.generic
// CHECK-NOT: linalg.generic
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %q: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index},
                %r: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/anchor", stepforge.result = 2 : index}) -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) {
  %new_p = arith.subf %p, %r : tensor<8xf32>
  %new_q = arith.subf %q, %r : tensor<8xf32>
  return %new_p, %new_q, %r : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}
