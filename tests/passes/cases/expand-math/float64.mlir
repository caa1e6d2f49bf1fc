// RUN: expand-math backend=cpu
// EXECUTE: no
// float64 is not this pass's: the frontend emits no sine of it.
// CHECK-LABEL: func.func @step
// CHECK: math.sin %{{.*}} : f64
func.func @step(%x: tensor<8xf64>) -> tensor<8xf64> {
  %out = tensor.empty() : tensor<8xf64>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%x : tensor<8xf64>) outs(%out : tensor<8xf64>) {
    ^bb0(%in: f64, %unused: f64):
      %sine = math.sin %in : f64
      linalg.yield %sine : f64
  } -> tensor<8xf64>
  return %y : tensor<8xf64>
}
