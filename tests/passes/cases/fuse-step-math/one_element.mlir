// RUN: fuse-step-math
// One element of a tensor of rank 1, as a scalar: read in place, as an entry of the scalar table is.
// CHECK: affine_map<(d0) -> (1)>
// CHECK-LABEL: func.func @initialize
// CHECK-NOT: tensor.extract_slice
// CHECK: linalg.generic
// CHECK-SAME: ins(%arg0 : tensor<2xi32>)
// CHECK-NOT: tensor.collapse_shape
func.func @initialize(%seed: tensor<2xi32> {stepforge.role = "seed", stepforge.name = "seed"}) -> tensor<8xi32> {
  %slice = tensor.extract_slice %seed[1] [1] [1] : tensor<2xi32> to tensor<1xi32>
  %word = tensor.collapse_shape %slice [] : tensor<1xi32> into tensor<i32>
  %out = tensor.empty() : tensor<8xi32>
  %words = linalg.broadcast ins(%word : tensor<i32>) outs(%out : tensor<8xi32>) dimensions = [0]
  %value = arith.addi %words, %words : tensor<8xi32>
  return %value : tensor<8xi32>
}
