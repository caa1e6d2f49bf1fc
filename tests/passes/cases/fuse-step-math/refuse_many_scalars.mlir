// RUN: fuse-step-math
// REFUSED: reads 17 words of host scalars, at most 16 reach a dispatch
// REFUSED: scalars='table'
func.func @step(%p: tensor<8xf32>, %a0: f32, %a1: f32, %a2: f32, %a3: f32, %a4: f32, %a5: f32, %a6: f32, %a7: f32, %a8: f32, %a9: f32, %a10: f32, %a11: f32, %a12: f32, %a13: f32, %a14: f32, %a15: f32, %a16: f32) -> tensor<8xf32> {
  %out = tensor.empty() : tensor<8xf32>
  %t0 = tensor.from_elements %a0 : tensor<f32>
  %b0 = linalg.broadcast ins(%t0 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x0 = arith.addf %p, %b0 : tensor<8xf32>
  %t1 = tensor.from_elements %a1 : tensor<f32>
  %b1 = linalg.broadcast ins(%t1 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x1 = arith.addf %x0, %b1 : tensor<8xf32>
  %t2 = tensor.from_elements %a2 : tensor<f32>
  %b2 = linalg.broadcast ins(%t2 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x2 = arith.addf %x1, %b2 : tensor<8xf32>
  %t3 = tensor.from_elements %a3 : tensor<f32>
  %b3 = linalg.broadcast ins(%t3 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x3 = arith.addf %x2, %b3 : tensor<8xf32>
  %t4 = tensor.from_elements %a4 : tensor<f32>
  %b4 = linalg.broadcast ins(%t4 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x4 = arith.addf %x3, %b4 : tensor<8xf32>
  %t5 = tensor.from_elements %a5 : tensor<f32>
  %b5 = linalg.broadcast ins(%t5 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x5 = arith.addf %x4, %b5 : tensor<8xf32>
  %t6 = tensor.from_elements %a6 : tensor<f32>
  %b6 = linalg.broadcast ins(%t6 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x6 = arith.addf %x5, %b6 : tensor<8xf32>
  %t7 = tensor.from_elements %a7 : tensor<f32>
  %b7 = linalg.broadcast ins(%t7 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x7 = arith.addf %x6, %b7 : tensor<8xf32>
  %t8 = tensor.from_elements %a8 : tensor<f32>
  %b8 = linalg.broadcast ins(%t8 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x8 = arith.addf %x7, %b8 : tensor<8xf32>
  %t9 = tensor.from_elements %a9 : tensor<f32>
  %b9 = linalg.broadcast ins(%t9 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x9 = arith.addf %x8, %b9 : tensor<8xf32>
  %t10 = tensor.from_elements %a10 : tensor<f32>
  %b10 = linalg.broadcast ins(%t10 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x10 = arith.addf %x9, %b10 : tensor<8xf32>
  %t11 = tensor.from_elements %a11 : tensor<f32>
  %b11 = linalg.broadcast ins(%t11 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x11 = arith.addf %x10, %b11 : tensor<8xf32>
  %t12 = tensor.from_elements %a12 : tensor<f32>
  %b12 = linalg.broadcast ins(%t12 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x12 = arith.addf %x11, %b12 : tensor<8xf32>
  %t13 = tensor.from_elements %a13 : tensor<f32>
  %b13 = linalg.broadcast ins(%t13 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x13 = arith.addf %x12, %b13 : tensor<8xf32>
  %t14 = tensor.from_elements %a14 : tensor<f32>
  %b14 = linalg.broadcast ins(%t14 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x14 = arith.addf %x13, %b14 : tensor<8xf32>
  %t15 = tensor.from_elements %a15 : tensor<f32>
  %b15 = linalg.broadcast ins(%t15 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x15 = arith.addf %x14, %b15 : tensor<8xf32>
  %t16 = tensor.from_elements %a16 : tensor<f32>
  %b16 = linalg.broadcast ins(%t16 : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %x16 = arith.addf %x15, %b16 : tensor<8xf32>
  return %x16 : tensor<8xf32>
}
