// RUN: fuse-step-math
// The new momentum is needed, in another order, by the new parameter: a loop of its own computes it
// for that, and the one that updates the variable, which comes last, once more.
// CHECK-LABEL: func.func @step
// CHECK: %[[M:.*]] = linalg.generic
// CHECK: linalg.transpose ins(%[[M]]
// CHECK: %[[NEW:.*]]:2 = linalg.generic
// CHECK-SAME: ins(%{{.*}}, %arg1, %arg0, %arg2 :
// CHECK-NOT: linalg.generic
// CHECK: return %[[NEW]]#0, %[[NEW]]#1
func.func @step(%p: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %m: tensor<4x4xf32> {stepforge.role = "slot", stepforge.name = "/m", stepforge.result = 1 : index},
                %g: tensor<4x4xf32> {stepforge.role = "gradient", stepforge.name = "/a"}) -> (tensor<4x4xf32>, tensor<4x4xf32>) {
  %new_m = arith.addf %m, %g : tensor<4x4xf32>
  %out = tensor.empty() : tensor<4x4xf32>
  %turned = linalg.transpose ins(%new_m : tensor<4x4xf32>) outs(%out : tensor<4x4xf32>) permutation = [1, 0]
  %step = arith.addf %turned, %m : tensor<4x4xf32>
  %new_p = arith.subf %p, %step : tensor<4x4xf32>
  return %new_p, %new_m : tensor<4x4xf32>, tensor<4x4xf32>
}
