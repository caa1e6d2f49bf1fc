// RUN: split-reductions
// EXECUTE: no
// More parts than one loop may have are summed in parts themselves. (A gigabyte is not executed.)
// CHECK-LABEL: func.func @step
// CHECK: tensor<524288000xf32> into tensor<32000x16384xf32>
// CHECK: compute_barrier.start %{{.*}} : tensor<32000xf32>
// CHECK: tensor<32000xf32> into tensor<20x1600xf32>
// CHECK: compute_barrier.start %{{.*}} : tensor<20xf32>
// CHECK: compute_barrier.start %{{.*}} : tensor<f32>
func.func @step(%g: tensor<524288000xf32>) -> tensor<8xf32> {
  %zero = arith.constant 0.0 : f32
  %out = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce { arith.addf } ins(%g : tensor<524288000xf32>) outs(%init : tensor<f32>) dimensions = [0]
  %out2 = tensor.empty() : tensor<8xf32>
  %wide = linalg.broadcast ins(%sum : tensor<f32>) outs(%out2 : tensor<8xf32>) dimensions = [0]
  return %wide : tensor<8xf32>
}
