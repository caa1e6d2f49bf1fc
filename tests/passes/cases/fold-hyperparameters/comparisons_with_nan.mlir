// RUN: fold-hyperparameters
// The VM compares `oge`, `uge`, `one` and `ord` wrongly with NaN; their twins it compares right.
// CHECK-LABEL: func.func @step
// CHECK-NOT: cmpf oge
// CHECK-NOT: cmpf uge
// CHECK-NOT: cmpf one
// CHECK-NOT: cmpf ord
// CHECK: arith.cmpf ole, %arg2, %arg1 : f32
// CHECK: arith.cmpf ule, %arg2, %arg1 : f32
// CHECK: arith.cmpf uno
func.func @step(%p: tensor<8xf32>, %a: f32, %b: f32) -> tensor<8xf32> {
  %a0 = tensor.from_elements %a : tensor<f32>
  %b0 = tensor.from_elements %b : tensor<f32>
  %oge = arith.cmpf oge, %a0, %b0 : tensor<f32>
  %uge = arith.cmpf uge, %a0, %b0 : tensor<f32>
  %one = arith.cmpf one, %a0, %b0 : tensor<f32>
  %ord = arith.cmpf ord, %a0, %b0 : tensor<f32>
  %x = arith.andi %oge, %uge : tensor<i1>
  %y = arith.andi %one, %ord : tensor<i1>
  %z = arith.xori %x, %y : tensor<i1>
  %s = arith.select %z, %a0, %b0 : tensor<i1>, tensor<f32>
  %out = tensor.empty() : tensor<8xf32>
  %ss = linalg.broadcast ins(%s : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %new_p = arith.mulf %p, %ss : tensor<8xf32>
  return %new_p : tensor<8xf32>
}
