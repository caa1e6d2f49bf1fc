// RUN: split-reductions
// One axis of several is split where it stands.
// CHECK-LABEL: func.func @step
// CHECK: tensor.expand_shape %arg0 {{\[\[}}0], [1, 2]]
// CHECK: %[[PARTS:.*]] = linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "parallel", "reduction"]
// CHECK: iree_tensor_ext.compute_barrier.start
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "reduction"]
func.func @step(%g: tensor<3x32768xi32>) -> tensor<3xi32> {
  %zero = arith.constant 0 : i32
  %out = tensor.empty() : tensor<3xi32>
  %init = linalg.fill ins(%zero : i32) outs(%out : tensor<3xi32>) -> tensor<3xi32>
  %sum = linalg.reduce { arith.addi } ins(%g : tensor<3x32768xi32>) outs(%init : tensor<3xi32>) dimensions = [1]
  return %sum : tensor<3xi32>
}
