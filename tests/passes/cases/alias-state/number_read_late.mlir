// RUN: alias-state
// A number of the device that a loop reads which waits for another is copied first: all read the
// copy, so that the loop that writes it waits for it.
// CHECK-LABEL: func.func @step
// CHECK: %[[COPY:.*]] = linalg.generic {{.*}} ins(%arg1 : tensor<i32>)
// CHECK: %[[KEPT:.*]] = iree_tensor_ext.compute_barrier.start %[[COPY]]
// CHECK-NOT: %arg1
// CHECK: %[[MADE:.*]] = linalg.generic {{.*}} ins(%arg0 :
// CHECK: %[[FENCED:.*]] = iree_tensor_ext.compute_barrier.start %[[MADE]]
// CHECK: linalg.generic {{.*}} ins(%[[FENCED]], %[[KEPT]]
// CHECK: linalg.generic {{.*}} ins(%[[KEPT]]
// CHECK-NOT: %arg1
// CHECK: return
#id = affine_map<(d0) -> (d0)>
#one = affine_map<(d0) -> ()>
#none = affine_map<() -> ()>
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/p", stepforge.result = 0 : index}, %n: tensor<i32> {stepforge.role = "counter", stepforge.name = "/n", stepforge.result = 1 : index}) -> (tensor<8xf32>, tensor<i32>) {
  %out = tensor.empty() : tensor<8xf32>
  %made = linalg.generic {indexing_maps = [#id, #id], iterator_types = ["parallel"]} ins(%p : tensor<8xf32>) outs(%out : tensor<8xf32>) {
  ^bb0(%x: f32, %o: f32):
    %z = math.exp %x : f32
    linalg.yield %z : f32
  } -> tensor<8xf32>
  %fenced = iree_tensor_ext.compute_barrier.start %made : tensor<8xf32> -> tensor<8xf32>
  %new = linalg.generic {indexing_maps = [#id, #one, #id], iterator_types = ["parallel"]} ins(%fenced, %n : tensor<8xf32>, tensor<i32>) outs(%out : tensor<8xf32>) {
  ^bb0(%x: f32, %k: i32, %o: f32):
    %f = arith.sitofp %k : i32 to f32
    %z = arith.addf %x, %f : f32
    linalg.yield %z : f32
  } -> tensor<8xf32>
  %out0 = tensor.empty() : tensor<i32>
  %next = linalg.generic {indexing_maps = [#none, #none], iterator_types = []} ins(%n : tensor<i32>) outs(%out0 : tensor<i32>) {
  ^bb0(%k: i32, %o: i32):
    %one = arith.constant 1 : i32
    %z = arith.addi %k, %one : i32
    linalg.yield %z : i32
  } -> tensor<i32>
  return %new, %next : tensor<8xf32>, tensor<i32>
}
