// RUN: view-arguments
// EXECUTE: no
// The variable and its gradient are only seen as rows, so they enter as such; conversions move.
// CHECK: func.func @step(%{{.*}}: tensor<8x2xf32>
// CHECK-SAME: stepforge.view = tensor<4x4xf32>
// CHECK-SAME: tensor<8x2xbf16>
// CHECK-SAME: stepforge.view = tensor<4x4xbf16>
// CHECK-SAME: -> tensor<8x2xf32>
// CHECK-NOT: shape
// CHECK: arith.extf %{{.*}} : tensor<8x2xbf16> to tensor<8x2xf32>
// CHECK-NEXT: arith.subf
// CHECK-NEXT: return
func.func @step(%p: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/p", stepforge.result = 0 : index},
                %g: tensor<4x4xbf16> {stepforge.role = "gradient", stepforge.name = "/p"}) -> tensor<4x4xf32> {
  %wide = arith.extf %g : tensor<4x4xbf16> to tensor<4x4xf32>
  %pf = tensor.collapse_shape %p [[0, 1]] : tensor<4x4xf32> into tensor<16xf32>
  %pr = tensor.expand_shape %pf [[0, 1]] output_shape [8, 2] : tensor<16xf32> into tensor<8x2xf32>
  %gf = tensor.collapse_shape %wide [[0, 1]] : tensor<4x4xf32> into tensor<16xf32>
  %gr = tensor.expand_shape %gf [[0, 1]] output_shape [8, 2] : tensor<16xf32> into tensor<8x2xf32>
  %new = arith.subf %pr, %gr : tensor<8x2xf32>
  %nf = tensor.collapse_shape %new [[0, 1]] : tensor<8x2xf32> into tensor<16xf32>
  %nr = tensor.expand_shape %nf [[0, 1]] output_shape [4, 4] : tensor<16xf32> into tensor<4x4xf32>
  return %nr : tensor<4x4xf32>
}
