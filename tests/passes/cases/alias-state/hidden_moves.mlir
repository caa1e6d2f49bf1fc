// RUN: alias-state
// IREE replaces a result that is yielded as it was read; so what comes from other state is hidden,
// also where it takes folding to see it, and what is the own value stays.
// CHECK-LABEL: func.func @step
// CHECK: %[[ZERO:.*]] = util.optimization_barrier %{{.*}} : i32
// CHECK: linalg.generic
// CHECK: ^bb0(%[[A:.*]]: f32, %[[B:.*]]: f32, %{{.*}}: f32, %{{.*}}: f32):
// CHECK: %[[BITS:.*]] = arith.bitcast %[[A]] : f32 to i32
// CHECK: %[[SAME:.*]] = arith.xori %[[BITS]], %[[ZERO]]
// CHECK: %[[MOVED:.*]] = arith.bitcast %[[SAME]] : i32 to f32
// CHECK: linalg.yield %[[A]], %[[MOVED]] : f32, f32
#map = affine_map<(d0) -> (d0)>
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %b: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index}) -> (tensor<8xf32>, tensor<8xf32>) {
  %out = tensor.empty() : tensor<8xf32>
  %new:2 = linalg.generic {indexing_maps = [#map, #map, #map, #map], iterator_types = ["parallel"]}
      ins(%a, %b : tensor<8xf32>, tensor<8xf32>) outs(%out, %out : tensor<8xf32>, tensor<8xf32>) {
  ^bb0(%x: f32, %y: f32, %o0: f32, %o1: f32):
    %one = arith.constant 1.0 : f32
    %p = arith.mulf %x, %one : f32
    linalg.yield %x, %p : f32, f32
  } -> (tensor<8xf32>, tensor<8xf32>)
  return %new#0, %new#1 : tensor<8xf32>, tensor<8xf32>
}
