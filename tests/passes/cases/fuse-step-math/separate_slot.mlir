// RUN: fuse-step-math
// A slot that its parameter does not read belongs to it all the same, through the gradient.
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic
// CHECK-SAME: outs(%{{.*}}, %{{.*}} : tensor<8xf32>, tensor<8xf32>)
// CHECK-NOT: linalg.generic
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %s: tensor<8xf32> {stepforge.role = "slot", stepforge.name = "/trace", stepforge.result = 1 : index},
                %g: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"}) -> (tensor<8xf32>, tensor<8xf32>) {
  %new_p = arith.subf %p, %g : tensor<8xf32>
  %size = math.absf %g : tensor<8xf32>
  %new_s = arith.maximumf %s, %size : tensor<8xf32>
  return %new_p, %new_s : tensor<8xf32>, tensor<8xf32>
}
