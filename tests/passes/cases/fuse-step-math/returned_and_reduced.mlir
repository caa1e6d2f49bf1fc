// RUN: fuse-step-math
// The reduction computes its own copy of a new value, so that it does not wait for the update.
// CHECK-LABEL: func.func @step
// CHECK: %[[COPY:.*]] = linalg.generic
// CHECK: %[[SUM:.*]] = linalg.reduce { arith.addf } ins(%[[COPY]]
// CHECK: %[[NEW:.*]] = linalg.generic
// CHECK: return %[[NEW]], %[[SUM]]
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %g: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"}) -> (tensor<8xf32>, tensor<f32>) {
  %new_p = arith.subf %p, %g : tensor<8xf32>
  %zero = arith.constant 0.0 : f32
  %out0 = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out0 : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce { arith.addf } ins(%new_p : tensor<8xf32>) outs(%init : tensor<f32>) dimensions = [0]
  return %new_p, %sum : tensor<8xf32>, tensor<f32>
}
