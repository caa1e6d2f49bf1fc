// RUN: expand-math backend=vmvx
// VMVX calls the C library.
// CHECK-LABEL: func.func @step
// CHECK: math.sin
// CHECK-NEXT: linalg.yield
func.func @step(%x: tensor<8xf32>) -> tensor<8xf32> {
  %out = tensor.empty() : tensor<8xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%x : tensor<8xf32>) outs(%out : tensor<8xf32>) {
    ^bb0(%in: f32, %unused: f32):
      %sine = math.sin %in : f32
      linalg.yield %sine : f32
  } -> tensor<8xf32>
  return %y : tensor<8xf32>
}
