// RUN: fuse-step-math
// A variable of rank 0 is a loop of no dimensions.
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = []
// CHECK-SAME: ins(%arg1, %arg0 : tensor<f32>, tensor<f32>)
// CHECK-NOT: linalg.generic
func.func @step(%p: tensor<f32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %g: tensor<f32> {stepforge.role = "gradient", stepforge.name = "/a"}, %lr: f32) -> tensor<f32> {
  %lr0 = tensor.from_elements %lr : tensor<f32>
  %delta = arith.mulf %lr0, %g : tensor<f32>
  %new_p = arith.subf %p, %delta : tensor<f32>
  return %new_p : tensor<f32>
}
