// RUN: split-reductions
// The leading axis, of a prime length.
// CHECK-DAG: affine_map<(d0, d1) -> (d0 + 16384, d1)>
// CHECK-DAG: affine_map<(d0, d1, d2) -> (d0 * 2048 + d1, d2)>
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["reduction", "parallel"]
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "reduction", "parallel"]
func.func @step(%g: tensor<16411x3xi32>) -> tensor<3xi32> {
  %zero = arith.constant 0 : i32
  %out = tensor.empty() : tensor<3xi32>
  %init = linalg.fill ins(%zero : i32) outs(%out : tensor<3xi32>) -> tensor<3xi32>
  %sum = linalg.reduce { arith.addi } ins(%g : tensor<16411x3xi32>) outs(%init : tensor<3xi32>) dimensions = [0]
  return %sum : tensor<3xi32>
}
