// RUN: wrap-entry-points
// The wrapper takes buffer views and fences, hands out every result, scalars too, and names what it
// imports; own attributes are gone.
// CHECK-NOT: stepforge.name
// CHECK: func.func private @__step(%arg0: tensor<8xf32>, %arg1: tensor<8xf32>, %arg2: i64)
// CHECK: util.func public @step(%arg0: !hal.buffer_view, %arg1: !hal.buffer_view, %arg2: i64, %arg3: !hal.fence, %arg4: !hal.fence) -> (!hal.buffer_view, i64)
// CHECK-SAME: iree.abi.model = "coarse-fences", stepforge.abi = "1"
// CHECK: hal.tensor.import wait(%arg3) => consume %arg0 "parameter /a"
// CHECK: hal.tensor.import wait(%arg3) => %arg1 "gradient /a"
// CHECK: %[[R:.*]]:2 = func.call @__step
// CHECK: %[[A:.*]] = hal.tensor.alias wait(%arg3) => %[[R]]#0 : tensor<8xf32> to %arg0
// CHECK: %[[B:.*]] = hal.tensor.barrier join(%[[A]] : tensor<8xf32>) => %arg4
// CHECK: %[[E:.*]] = hal.tensor.export %[[B]] "result 0"
// CHECK: util.return %[[E]], %[[R]]#1
#map = affine_map<(d0) -> (d0)>
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(%p: tensor<8xf32> {iree.abi.output = 0 : index, stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                  %g: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                  %t: i64 {stepforge.role = "counter", stepforge.name = "/t", stepforge.result = 1 : index}) -> (tensor<8xf32>, i64) {
    %one = arith.constant 1 : i64
    %next = arith.addi %t, %one : i64
    %out = tensor.empty() : tensor<8xf32>
    %new = linalg.generic {indexing_maps = [#map, #map, #map], iterator_types = ["parallel"]}
        ins(%p, %g : tensor<8xf32>, tensor<8xf32>) outs(%out : tensor<8xf32>) {
    ^bb0(%x: f32, %y: f32, %o: f32):
      %z = arith.addf %x, %y : f32
      linalg.yield %z : f32
    } -> tensor<8xf32>
    return %new, %next : tensor<8xf32>, i64
  }
}
