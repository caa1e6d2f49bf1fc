// RUN: fuse-step-math
// A bf16 parameter is widened and rounded inside its loop.
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic
// CHECK-SAME: ins(%arg0, %arg1 : tensor<8xbf16>, tensor<8xbf16>)
// CHECK: arith.extf
// CHECK: arith.subf %{{.*}} : f32
// CHECK: arith.truncf
// CHECK-NOT: linalg.generic
func.func @step(%p: tensor<8xbf16> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %g: tensor<8xbf16> {stepforge.role = "gradient", stepforge.name = "/a"}) -> tensor<8xbf16> {
  %pw = arith.extf %p : tensor<8xbf16> to tensor<8xf32>
  %gw = arith.extf %g : tensor<8xbf16> to tensor<8xf32>
  %raw = arith.subf %pw, %gw : tensor<8xf32>
  %new_p = arith.truncf %raw : tensor<8xf32> to tensor<8xbf16>
  return %new_p : tensor<8xbf16>
}
