// RUN: fuse-step-math
// Two variables that share a gradient stay two loops; each computes what it shares.
// CHECK-LABEL: func.func @step
// CHECK-COUNT-2: linalg.generic
// CHECK-NOT: linalg.generic
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %q: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index},
                %g: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"}) -> (tensor<8xf32>, tensor<8xf32>) {
  %gg = arith.mulf %g, %g : tensor<8xf32>
  %new_p = arith.subf %p, %gg : tensor<8xf32>
  %new_q = arith.subf %q, %gg : tensor<8xf32>
  return %new_p, %new_q : tensor<8xf32>, tensor<8xf32>
}
