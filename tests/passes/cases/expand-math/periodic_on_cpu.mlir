// RUN: expand-math backend=cpu
// EXECUTE: close
// On CPU, IREE's exp is exact enough, and its sine is not.
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic
// CHECK-NOT: math.sin
// CHECK: arith.bitcast
// CHECK-NOT: math.sin
// CHECK: math.exp
func.func @step(%x: tensor<8xf32>) -> tensor<8xf32> {
  %out = tensor.empty() : tensor<8xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%x : tensor<8xf32>) outs(%out : tensor<8xf32>) {
    ^bb0(%in: f32, %unused: f32):
      %sine = math.sin %in : f32
      %power = math.exp %sine : f32
      linalg.yield %power : f32
  } -> tensor<8xf32>
  return %y : tensor<8xf32>
}
