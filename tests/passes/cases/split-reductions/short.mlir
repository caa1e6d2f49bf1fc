// RUN: split-reductions
// A short reduction stays one loop, takes the loop it reads with it, and is fenced from its reader.
// CHECK-LABEL: func.func @step
// CHECK-NOT: linalg.reduce
// CHECK: %[[SUM:.*]] = linalg.generic
// CHECK-SAME: iterator_types = ["reduction"]
// CHECK: arith.muli
// CHECK: arith.addi
// CHECK: %[[FENCED:.*]] = iree_tensor_ext.compute_barrier.start %[[SUM]]
// CHECK: linalg.broadcast ins(%[[FENCED]]
func.func @step(%g: tensor<4x8xi32>) -> tensor<4xi32> {
  %zero = arith.constant 0 : i32
  %out0 = tensor.empty() : tensor<i32>
  %init = linalg.fill ins(%zero : i32) outs(%out0 : tensor<i32>) -> tensor<i32>
  %out1 = tensor.empty() : tensor<4x8xi32>
  %squares = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>],
                             iterator_types = ["parallel", "parallel"]}
      ins(%g : tensor<4x8xi32>) outs(%out1 : tensor<4x8xi32>) {
  ^bb0(%x: i32, %o: i32):
    %xx = arith.muli %x, %x : i32
    linalg.yield %xx : i32
  } -> tensor<4x8xi32>
  %sum = linalg.reduce { arith.addi } ins(%squares : tensor<4x8xi32>) outs(%init : tensor<i32>) dimensions = [0, 1]
  %out2 = tensor.empty() : tensor<4xi32>
  %wide = linalg.broadcast ins(%sum : tensor<i32>) outs(%out2 : tensor<4xi32>) dimensions = [0]
  return %wide : tensor<4xi32>
}
