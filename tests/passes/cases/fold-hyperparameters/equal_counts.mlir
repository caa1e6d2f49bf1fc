// RUN: fold-hyperparameters
// Two equal reductions become one.
// CHECK-LABEL: func.func @step
// CHECK: linalg.reduce
// CHECK-NOT: linalg.reduce
func.func @step(%g: tensor<8xi32>) -> (tensor<i32>, tensor<i32>) {
  %zero = arith.constant 0 : i32
  %out = tensor.empty() : tensor<i32>
  %init = linalg.fill ins(%zero : i32) outs(%out : tensor<i32>) -> tensor<i32>
  %twice = arith.addi %g, %g : tensor<8xi32>
  %again = arith.addi %g, %g : tensor<8xi32>
  %a = linalg.reduce { arith.addi } ins(%twice : tensor<8xi32>) outs(%init : tensor<i32>) dimensions = [0]
  %b = linalg.reduce { arith.addi } ins(%again : tensor<8xi32>) outs(%init : tensor<i32>) dimensions = [0]
  return %a, %b : tensor<i32>, tensor<i32>
}
