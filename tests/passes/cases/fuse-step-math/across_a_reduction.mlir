// RUN: fuse-step-math
// What feeds the reduction is one loop, what waits for it another; the decay of `m`, which waits
// for nothing, goes with the rest of its variable.
// CHECK-LABEL: func.func @step
// CHECK: %[[SQUARES:.*]] = linalg.generic
// CHECK: %[[SUM:.*]] = linalg.reduce { arith.addf } ins(%[[SQUARES]]
// CHECK: %[[NEW:.*]]:2 = linalg.generic
// CHECK-SAME: ins(%{{.*}}, %{{.*}}, %[[SUM]], %{{.*}} :
// CHECK-NOT: linalg.generic
// CHECK: return %[[NEW]]#0, %[[NEW]]#1
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %m: tensor<8xf32> {stepforge.role = "slot", stepforge.name = "/m", stepforge.result = 1 : index},
                %g: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"}) -> (tensor<8xf32>, tensor<8xf32>) {
  %gg = arith.mulf %g, %g : tensor<8xf32>
  %zero = arith.constant 0.0 : f32
  %out0 = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out0 : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce { arith.addf } ins(%gg : tensor<8xf32>) outs(%init : tensor<f32>) dimensions = [0]
  %half = arith.constant dense<0.5> : tensor<8xf32>
  %decayed = arith.mulf %m, %half : tensor<8xf32>
  %new_m = arith.addf %decayed, %g : tensor<8xf32>
  %out = tensor.empty() : tensor<8xf32>
  %sums = linalg.broadcast ins(%sum : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %q = arith.divf %new_m, %sums : tensor<8xf32>
  %new_p = arith.subf %p, %q : tensor<8xf32>
  return %new_p, %new_m : tensor<8xf32>, tensor<8xf32>
}
