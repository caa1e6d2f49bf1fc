// RUN: fuse-step-math
// Variables that read each other's old values must be updated by one loop.
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic
// CHECK-SAME: outs(%{{.*}}, %{{.*}} : tensor<8xf32>, tensor<8xf32>)
// CHECK-NOT: linalg.generic
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %q: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index}) -> (tensor<8xf32>, tensor<8xf32>) {
  %new_p = arith.addf %p, %q : tensor<8xf32>
  %new_q = arith.subf %p, %q : tensor<8xf32>
  return %new_p, %new_q : tensor<8xf32>, tensor<8xf32>
}
