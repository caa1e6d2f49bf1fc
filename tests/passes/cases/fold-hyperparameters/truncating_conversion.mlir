// RUN: fold-hyperparameters
// EXECUTE: no
// The VM rounds where `fptosi` truncates, so the number is made whole first.
// CHECK-LABEL: func.func @step
// CHECK: math.ceil
// CHECK: math.floor
// CHECK: %[[WHOLE:.*]] = arith.select
// CHECK: arith.fptosi %[[WHOLE]] : f32 to i64
func.func @step(%p: tensor<8xf32>, %lr: f32) -> (tensor<8xf32>, i64) {
  %lr0 = tensor.from_elements %lr : tensor<f32>
  %ten = arith.constant dense<10.0> : tensor<f32>
  %x = arith.mulf %lr0, %ten : tensor<f32>
  %n = arith.fptosi %x : tensor<f32> to tensor<i64>
  %new_n = tensor.extract %n[] : tensor<i64>
  %new_p = arith.addf %p, %p : tensor<8xf32>
  return %new_p, %new_n : tensor<8xf32>, i64
}
