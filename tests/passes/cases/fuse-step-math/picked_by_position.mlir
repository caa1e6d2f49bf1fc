// RUN: fuse-step-math
// IREE fuses a loop into one that picks its elements by position, and then holds all of them in one
// thread: a barrier keeps them apart. Function arguments need none.
// CHECK-LABEL: func.func @step
// CHECK: %[[DOUBLE:.*]] = linalg.generic
// CHECK: %[[FENCED:.*]] = iree_tensor_ext.compute_barrier.start %[[DOUBLE]]
// CHECK-NOT: compute_barrier
// CHECK: tensor.extract %[[FENCED]]
// CHECK: tensor.extract %arg0
func.func @step(%p: tensor<64xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index}) -> tensor<64xf32> {
  %double = arith.addf %p, %p : tensor<64xf32>
  %out = tensor.empty() : tensor<64xf32>
  %last = arith.constant 63 : index
  %new_p = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]} outs(%out : tensor<64xf32>) {
  ^bb0(%o: f32):
    %i = linalg.index 0 : index
    %j = arith.subi %last, %i : index
    %x = tensor.extract %double[%j] : tensor<64xf32>
    %y = tensor.extract %p[%j] : tensor<64xf32>
    %z = arith.mulf %x, %y : f32
    linalg.yield %z : f32
  } -> tensor<64xf32>
  return %new_p : tensor<64xf32>
}
