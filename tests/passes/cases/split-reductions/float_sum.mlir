// RUN: split-reductions
// EXECUTE: close
// The parts of a sum start from -0.0, which changes no sum; the order of additions does change.
// CHECK-LABEL: func.func @step
// CHECK: arith.constant -0.000000e+00 : f32
func.func @step(%g: tensor<300x100xf32>) -> tensor<f32> {
  %start = arith.constant 1000.0 : f32
  %out = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%start : f32) outs(%out : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce { arith.addf } ins(%g : tensor<300x100xf32>) outs(%init : tensor<f32>) dimensions = [0, 1]
  return %sum : tensor<f32>
}
