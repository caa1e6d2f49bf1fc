// RUN: split-reductions
// Nothing reads the result, so there is nothing to fence.
// CHECK-LABEL: func.func @step
// CHECK: linalg.reduce
// CHECK-NOT: compute_barrier
func.func @step(%g: tensor<16384xi32>) -> tensor<i32> {
  %zero = arith.constant 0 : i32
  %out = tensor.empty() : tensor<i32>
  %init = linalg.fill ins(%zero : i32) outs(%out : tensor<i32>) -> tensor<i32>
  %sum = linalg.reduce { arith.addi } ins(%g : tensor<16384xi32>) outs(%init : tensor<i32>) dimensions = [0]
  return %sum : tensor<i32>
}
