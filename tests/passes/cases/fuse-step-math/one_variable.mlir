// RUN: fuse-step-math
// A chain becomes one loop; the host scalar is captured, the constant is inside.
// CHECK-LABEL: func.func @step
// CHECK: %[[RATE:.*]] = util.optimization_barrier
// CHECK: %[[NEW:.*]] = linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "parallel"]
// CHECK-SAME: ins(%arg1, %arg0 : tensor<4x8xf32>, tensor<4x8xf32>)
// CHECK: arith.mulf %[[RATE]], %{{.*}} : f32
// CHECK: arith.subf
// CHECK: linalg.yield
// CHECK-NOT: linalg.generic
// CHECK-NOT: linalg.broadcast
// CHECK: return %[[NEW]]
func.func @step(%p: tensor<4x8xf32> {stepforge.role = "parameter", stepforge.name = "/w", stepforge.result = 0 : index},
                %g: tensor<4x8xf32> {stepforge.role = "gradient", stepforge.name = "/w"}, %lr: f32) -> tensor<4x8xf32> {
  %root = math.sqrt %lr : f32
  %rate = util.optimization_barrier %root : f32
  %rate0 = tensor.from_elements %rate : tensor<f32>
  %out = tensor.empty() : tensor<4x8xf32>
  %rates = linalg.broadcast ins(%rate0 : tensor<f32>) outs(%out : tensor<4x8xf32>) dimensions = [0, 1]
  %two = arith.constant dense<2.0> : tensor<4x8xf32>
  %twice = arith.mulf %g, %two : tensor<4x8xf32>
  %delta = arith.mulf %rates, %twice : tensor<4x8xf32>
  %new_p = arith.subf %p, %delta : tensor<4x8xf32>
  return %new_p : tensor<4x8xf32>
}
