// RUN: fuse-step-math
// EXECUTE: close
// One number per row is computed once per row, and read through the rows' dimension.
// CHECK: #[[ROWS:.*]] = affine_map<(d0, d1) -> (d0)>
// CHECK-LABEL: func.func @step
// CHECK: linalg.reduce
// CHECK: %[[ROOTS:.*]] = linalg.generic
// CHECK: math.sqrt
// CHECK: linalg.generic
// CHECK-SAME: #[[ROWS]]
// CHECK-SAME: %[[ROOTS]]
// CHECK-NOT: linalg.broadcast
func.func @step(%p: tensor<4x8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %g: tensor<4x8xf32> {stepforge.role = "gradient", stepforge.name = "/a"}) -> tensor<4x8xf32> {
  %gg = arith.mulf %g, %g : tensor<4x8xf32>
  %zero = arith.constant 0.0 : f32
  %out1 = tensor.empty() : tensor<4xf32>
  %init = linalg.fill ins(%zero : f32) outs(%out1 : tensor<4xf32>) -> tensor<4xf32>
  %sums = linalg.reduce { arith.addf } ins(%gg : tensor<4x8xf32>) outs(%init : tensor<4xf32>) dimensions = [1]
  %roots = math.sqrt %sums : tensor<4xf32>
  %out2 = tensor.empty() : tensor<4x8xf32>
  %wide = linalg.broadcast ins(%roots : tensor<4xf32>) outs(%out2 : tensor<4x8xf32>) dimensions = [1]
  %q = arith.divf %g, %wide : tensor<4x8xf32>
  %new_p = arith.subf %p, %q : tensor<4x8xf32>
  return %new_p : tensor<4x8xf32>
}
