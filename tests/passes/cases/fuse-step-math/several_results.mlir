// RUN: fuse-step-math
// All new values of a variable come from one loop; the dead operation is gone, nothing is computed
// twice, and only what is used outside is yielded.
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic
// CHECK-SAME: outs(%{{.*}}, %{{.*}} : tensor<8xf32>, tensor<8xf32>)
// CHECK-COUNT-1: math.sqrt
// CHECK-NOT: math.exp
// CHECK-NOT: linalg.generic
// CHECK: return
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/w", stepforge.result = 0 : index},
                %v: tensor<8xf32> {stepforge.role = "slot", stepforge.name = "/v", stepforge.result = 1 : index},
                %g: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/w"}) -> (tensor<8xf32>, tensor<8xf32>) {
  %gg = arith.mulf %g, %g : tensor<8xf32>
  %new_v = arith.addf %v, %gg : tensor<8xf32>
  %size = math.absf %new_v : tensor<8xf32>
  %root = math.sqrt %size : tensor<8xf32>
  %unused = math.exp %root : tensor<8xf32>
  %q = arith.divf %g, %root : tensor<8xf32>
  %new_p = arith.subf %p, %q : tensor<8xf32>
  return %new_p, %new_v : tensor<8xf32>, tensor<8xf32>
}
