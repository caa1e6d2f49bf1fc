// RUN: split-reductions backend=cpu vector_bytes=64
// EXECUTE: close
// Columns are neighbours already; a part of 64 x 257 has no pieces of 16 without a rest.
// CHECK-NOT: "reduction", "reduction"
// CHECK: return
func.func @step(%g: tensor<65536x3xf32>, %h: tensor<66049xf32>) -> (tensor<3xf32>, tensor<f32>) {
  %z = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<3xf32>
  %f = linalg.fill ins(%z : f32) outs(%e : tensor<3xf32>) -> tensor<3xf32>
  %r = linalg.reduce { arith.addf } ins(%g : tensor<65536x3xf32>) outs(%f : tensor<3xf32>) dimensions = [0]
  %e1 = tensor.empty() : tensor<f32>
  %f1 = linalg.fill ins(%z : f32) outs(%e1 : tensor<f32>) -> tensor<f32>
  %r1 = linalg.reduce { arith.addf } ins(%h : tensor<66049xf32>) outs(%f1 : tensor<f32>) dimensions = [0]
  return %r, %r1 : tensor<3xf32>, tensor<f32>
}
