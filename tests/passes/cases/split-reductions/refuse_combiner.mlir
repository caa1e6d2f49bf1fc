// RUN: split-reductions
// REFUSED: the reduction of 16385 terms at
// REFUSED: cannot be split into parallel parts: no start value is known for arith.subf on f32
func.func @step(%g: tensor<16385xf32>) -> tensor<f32> {
  %zero = arith.constant 0.0 : f32
  %out = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce { arith.subf } ins(%g : tensor<16385xf32>) outs(%init : tensor<f32>) dimensions = [0]
  return %sum : tensor<f32>
}
