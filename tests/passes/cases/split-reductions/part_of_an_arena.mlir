// RUN: split-reductions
// EXECUTE: close
// A part of a longer tensor is read where it is: reshaped, IREE would copy it.
// CHECK-NOT: tensor.expand_shape
// CHECK: linalg.generic
// CHECK-SAME: ins(%arg0, %{{.*}} : tensor<40000xf32>
func.func @norm(%g: tensor<40000xf32>) -> tensor<f32> {
  %part = tensor.extract_slice %g[100] [32768] [1] : tensor<40000xf32> to tensor<32768xf32>
  %view = tensor.expand_shape %part [[0, 1]] output_shape [256, 128] : tensor<32768xf32> into tensor<256x128xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%e : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce { arith.addf } ins(%view : tensor<256x128xf32>) outs(%init : tensor<f32>) dimensions = [0, 1]
  return %sum : tensor<f32>
}
