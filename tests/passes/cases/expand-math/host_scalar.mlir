// RUN: expand-math backend=vulkan
// The host has a C library, whatever the device is.
// CHECK-LABEL: func.func @step
// CHECK: math.exp %arg1 : f32
// CHECK-NOT: arith.bitcast
func.func @step(%x: tensor<8xf32>, %rate: f32) -> tensor<8xf32> {
  %scale = math.exp %rate : f32
  %out = tensor.empty() : tensor<8xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%x : tensor<8xf32>) outs(%out : tensor<8xf32>) {
    ^bb0(%in: f32, %unused: f32):
      %product = arith.mulf %in, %scale : f32
      linalg.yield %product : f32
  } -> tensor<8xf32>
  return %y : tensor<8xf32>
}
