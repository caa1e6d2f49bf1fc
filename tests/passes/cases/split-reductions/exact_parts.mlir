// RUN: split-reductions
// The count has a good divisor: whole parts, without a copy; the loop that counts goes along, and
// every level is fenced.
// CHECK-LABEL: func.func @step
// CHECK: %[[FLAT:.*]] = tensor.collapse_shape %arg0
// CHECK-SAME: tensor<512x128xf32> into tensor<65536xf32>
// CHECK: tensor.expand_shape %[[FLAT]]
// CHECK-SAME: into tensor<32x2048xf32>
// CHECK: %[[PARTS:.*]] = linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "reduction"]
// CHECK: arith.cmpf
// CHECK: arith.addi
// CHECK: %[[FENCED:.*]] = iree_tensor_ext.compute_barrier.start %[[PARTS]]
// CHECK: %[[SUM:.*]] = linalg.generic
// CHECK-SAME: iterator_types = ["reduction"]
// CHECK-SAME: ins(%[[FENCED]] : tensor<32xi32>)
// CHECK: %[[RESULT:.*]] = iree_tensor_ext.compute_barrier.start %[[SUM]]
// CHECK-NOT: linalg.reduce
// CHECK: linalg.generic
// CHECK-SAME: ins(%[[RESULT]]
#all = affine_map<(d0, d1) -> (d0, d1)>
#none = affine_map<(d0, d1) -> ()>
func.func @step(%g: tensor<512x128xf32>) -> tensor<512x128xf32> {
  %zero = arith.constant 0 : i32
  %out0 = tensor.empty() : tensor<i32>
  %init = linalg.fill ins(%zero : i32) outs(%out0 : tensor<i32>) -> tensor<i32>
  %out1 = tensor.empty() : tensor<512x128xi32>
  %ones = linalg.generic {indexing_maps = [#all, #all], iterator_types = ["parallel", "parallel"]}
      ins(%g : tensor<512x128xf32>) outs(%out1 : tensor<512x128xi32>) {
  ^bb0(%x: f32, %o: i32):
    %limit = arith.constant 1.0 : f32
    %big = arith.cmpf ogt, %x, %limit : f32
    %one = arith.extui %big : i1 to i32
    linalg.yield %one : i32
  } -> tensor<512x128xi32>
  %count = linalg.reduce { arith.addi } ins(%ones : tensor<512x128xi32>) outs(%init : tensor<i32>) dimensions = [0, 1]
  %out2 = tensor.empty() : tensor<512x128xf32>
  %scaled = linalg.generic {indexing_maps = [#none, #all, #all], iterator_types = ["parallel", "parallel"]}
      ins(%count, %g : tensor<i32>, tensor<512x128xf32>) outs(%out2 : tensor<512x128xf32>) {
  ^bb0(%n: i32, %x: f32, %o: f32):
    %f = arith.sitofp %n : i32 to f32
    %y = arith.mulf %x, %f : f32
    linalg.yield %y : f32
  } -> tensor<512x128xf32>
  return %scaled : tensor<512x128xf32>
}
