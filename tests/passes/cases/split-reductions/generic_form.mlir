// RUN: split-reductions
// A reduction that is a generic, with a term of its own and an entry of the scalar table in it.
// CHECK-DAG: #[[ENTRY:.*]] = affine_map<(d0, d1) -> (1)>
// CHECK-LABEL: func.func @step
// CHECK: tensor.expand_shape %arg0
// CHECK: linalg.generic {indexing_maps = [#{{.*}}, #[[ENTRY]],
// CHECK: arith.muli
// CHECK: arith.addi
// CHECK: linalg.generic
// CHECK-NOT: arith.muli
// CHECK: return
func.func @step(%g: tensor<32768xi32>, %table: tensor<2xi32>) -> tensor<i32> {
  %zero = arith.constant 0 : i32
  %out = tensor.empty() : tensor<i32>
  %init = linalg.fill ins(%zero : i32) outs(%out : tensor<i32>) -> tensor<i32>
  %sum = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (1)>, affine_map<(d0) -> ()>],
                         iterator_types = ["reduction"]}
      ins(%g, %table : tensor<32768xi32>, tensor<2xi32>) outs(%init : tensor<i32>) {
  ^bb0(%x: i32, %s: i32, %so_far: i32):
    %xs = arith.muli %x, %s : i32
    %next = arith.addi %so_far, %xs : i32
    linalg.yield %next : i32
  } -> tensor<i32>
  return %sum : tensor<i32>
}
