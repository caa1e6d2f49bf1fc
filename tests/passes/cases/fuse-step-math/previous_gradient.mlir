// RUN: fuse-step-math
// A slot that becomes the gradient as it is goes along in its parameter's loop.
// CHECK-LABEL: func.func @step
// CHECK: %[[NEW:.*]]:2 = linalg.generic
// CHECK: linalg.yield %{{.*}}, %in : f32, f32
// CHECK: return %[[NEW]]#0, %[[NEW]]#1
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %s: tensor<8xf32> {stepforge.role = "slot", stepforge.name = "/before", stepforge.result = 1 : index},
                %g: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"}) -> (tensor<8xf32>, tensor<8xf32>) {
  %change = arith.subf %g, %s : tensor<8xf32>
  %new_p = arith.subf %p, %change : tensor<8xf32>
  return %new_p, %g : tensor<8xf32>, tensor<8xf32>
}
