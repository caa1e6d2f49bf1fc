// RUN: fuse-step-math
// States that change places are copied by a loop that IREE cannot look through.
// CHECK-LABEL: func.func @step
// CHECK: %[[ZERO:.*]] = util.optimization_barrier %{{.*}} : i32
// CHECK: %[[NEW:.*]]:2 = linalg.generic
// CHECK-SAME: ins(%arg1, %arg0 :
// CHECK: arith.xori %{{.*}}, %[[ZERO]]
// CHECK: return %[[NEW]]#0, %[[NEW]]#1
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %q: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index}) -> (tensor<8xf32>, tensor<8xf32>) {
  return %q, %p : tensor<8xf32>, tensor<8xf32>
}
