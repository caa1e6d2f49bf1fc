// RUN: alias-state in_place=false
// The twin to compare with: the same module without the attributes.
// CHECK-LABEL: func.func @step
// CHECK-NOT: iree.abi.output
// CHECK: linalg.generic
#map = affine_map<(d0) -> (d0)>
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %m: tensor<8xf32> {stepforge.role = "slot", stepforge.name = "/m", stepforge.result = 1 : index},
                %g: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                %t: i64 {stepforge.role = "counter", stepforge.name = "/t", stepforge.result = 2 : index})
    -> (tensor<8xf32>, tensor<8xf32>, i64) {
  %one = arith.constant 1 : i64
  %next = arith.addi %t, %one : i64
  %out = tensor.empty() : tensor<8xf32>
  %new:2 = linalg.generic {indexing_maps = [#map, #map, #map, #map, #map], iterator_types = ["parallel"]}
      ins(%p, %m, %g : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) outs(%out, %out : tensor<8xf32>, tensor<8xf32>) {
  ^bb0(%pe: f32, %me: f32, %ge: f32, %o0: f32, %o1: f32):
    %m1 = arith.addf %me, %ge : f32
    %p1 = arith.subf %pe, %m1 : f32
    linalg.yield %p1, %m1 : f32, f32
  } -> (tensor<8xf32>, tensor<8xf32>)
  return %new#0, %new#1, %next : tensor<8xf32>, tensor<8xf32>, i64
}
