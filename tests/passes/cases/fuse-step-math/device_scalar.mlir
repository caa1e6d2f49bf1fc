// RUN: fuse-step-math
// A scalar of the device is read through a map without dimensions; what one operation makes of it is
// made in the loop.
// CHECK: #[[SCALAR:.*]] = affine_map<(d0) -> ()>
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic {indexing_maps = [#[[SCALAR]],
// CHECK-SAME: ins(%arg1, %arg0 : tensor<f32>, tensor<8xf32>)
// CHECK: math.absf %in : f32
// CHECK-NOT: linalg.generic
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %scale: tensor<f32> {stepforge.role = "input", stepforge.name = "/scale"}) -> tensor<8xf32> {
  %size = math.absf %scale : tensor<f32>
  %out = tensor.empty() : tensor<8xf32>
  %sizes = linalg.broadcast ins(%size : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %new_p = arith.mulf %p, %sizes : tensor<8xf32>
  return %new_p : tensor<8xf32>
}
