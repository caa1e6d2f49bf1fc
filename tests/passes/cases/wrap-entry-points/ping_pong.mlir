// RUN: wrap-entry-points ping_pong=true
// EXECUTE: no
// The wrapper takes a buffer for each new state, in the order of the results, behind all else and
// before the fences; arguments are read only, and what replaces none is a buffer of its own.
// CHECK: util.func public @step(%arg0: !hal.buffer_view, %arg1: !hal.buffer_view, %arg2: !hal.buffer_view, %arg3: i64, %arg4: !hal.buffer_view, %arg5: !hal.buffer_view, %arg6: !hal.fence, %arg7: !hal.fence) -> (!hal.buffer_view, !hal.buffer_view, !hal.buffer_view, i64)
// CHECK-SAME: %input4: tensor<8xf32> {iree.abi.output = 0 : index}, %input5: tensor<8xf32> {iree.abi.output = 2 : index}
// CHECK-NOT: consume
// CHECK: %[[R:.*]]:4 = func.call @__step
// CHECK: %[[A:.*]] = hal.tensor.alias wait(%arg6) => %[[R]]#0 : tensor<8xf32> to %arg4
// CHECK: %[[B:.*]] = hal.tensor.alias wait(%arg6) => %[[R]]#2 : tensor<8xf32> to %arg5
// CHECK: hal.tensor.barrier join(%[[A]], %[[R]]#1, %[[B]] :
#map = affine_map<(d0) -> (d0)>
func.func @step(%m: tensor<8xf32> {stepforge.role = "slot", stepforge.name = "/m", stepforge.result = 2 : index},
                %p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %g: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                %t: i64 {stepforge.role = "counter", stepforge.name = "/t", stepforge.result = 3 : index})
    -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, i64) {
  %one = arith.constant 1 : i64
  %next = arith.addi %t, %one : i64
  %out = tensor.empty() : tensor<8xf32>
  %new:3 = linalg.generic {indexing_maps = [#map, #map, #map, #map, #map, #map], iterator_types = ["parallel"]}
      ins(%p, %m, %g : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>)
      outs(%out, %out, %out : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) {
  ^bb0(%x: f32, %y: f32, %z: f32, %o0: f32, %o1: f32, %o2: f32):
    %a = arith.addf %x, %z : f32
    %b = arith.mulf %x, %y : f32
    %c = arith.addf %y, %z : f32
    linalg.yield %a, %b, %c : f32, f32, f32
  } -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>)
  return %new#0, %new#1, %new#2, %next : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, i64
}
