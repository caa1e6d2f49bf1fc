// RUN: fuse-step-math
// Entries of the scalar table are read in place, through constant maps.
// CHECK-DAG: affine_map<(d0) -> (0)>
// CHECK-DAG: affine_map<(d0) -> (2)>
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic
// CHECK-SAME: ins(%arg1, %arg0, %arg1 : tensor<3xf32>, tensor<8xf32>, tensor<3xf32>)
// CHECK-NOT: tensor.extract_slice
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %table: tensor<3xf32> {stepforge.role = "scalars", stepforge.name = "scalars"}) -> tensor<8xf32> {
  %first = tensor.extract_slice %table[0] [1] [1] : tensor<3xf32> to tensor<f32>
  %last = tensor.extract_slice %table[2] [1] [1] : tensor<3xf32> to tensor<f32>
  %out = tensor.empty() : tensor<8xf32>
  %a = linalg.broadcast ins(%first : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %b = linalg.broadcast ins(%last : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %scaled = arith.mulf %a, %p : tensor<8xf32>
  %new_p = arith.subf %scaled, %b : tensor<8xf32>
  return %new_p : tensor<8xf32>
}
