// RUN: split-reductions
// A prime count: a multiple of eight parts, read where they are, and the rest onto the start value.
// CHECK-DAG: #[[REST:.*]] = affine_map<(d0) -> (d0 + 65536)>
// CHECK-DAG: #[[PARTS:.*]] = affine_map<(d0, d1) -> (d0 * 2048 + d1)>
// CHECK-LABEL: func.func @step
// CHECK-NOT: extract_slice
// CHECK: %[[REST1:.*]] = linalg.generic {indexing_maps = [#[[REST]],
// CHECK-SAME: ins(%arg0, %{{.*}} : tensor<65537xi32>, tensor<1xi32>)
// CHECK: %[[START:.*]] = iree_tensor_ext.compute_barrier.start %[[REST1]]
// CHECK: %[[P:.*]] = linalg.generic {indexing_maps = [#[[PARTS]],
// CHECK-SAME: ins(%arg0, %{{.*}} : tensor<65537xi32>, tensor<2048xi32>)
// CHECK-SAME: tensor<32xi32>
// CHECK: %[[FENCED:.*]] = iree_tensor_ext.compute_barrier.start %[[P]]
// CHECK: linalg.generic
// CHECK-SAME: ins(%[[FENCED]] : tensor<32xi32>) outs(%[[START]] : tensor<i32>)
func.func @step(%g: tensor<65537xi32>) -> tensor<i32> {
  %seven = arith.constant 7 : i32
  %out = tensor.empty() : tensor<i32>
  %init = linalg.fill ins(%seven : i32) outs(%out : tensor<i32>) -> tensor<i32>
  %sum = linalg.reduce { arith.addi } ins(%g : tensor<65537xi32>) outs(%init : tensor<i32>) dimensions = [0]
  return %sum : tensor<i32>
}
