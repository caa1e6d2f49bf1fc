// RUN: split-reductions
// A loop that reads one element for all points tells nothing of how long the axis is: an operand
// that nobody reads does. Short and long.
// CHECK-LABEL: func.func @short
// CHECK: %[[EXTENT:.*]] = tensor.empty() : tensor<8xi32>
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "reduction"]
// CHECK-SAME: ins(%arg0, %[[EXTENT]] : tensor<i32>, tensor<8xi32>)
// CHECK-LABEL: func.func @long
// CHECK: %[[PARTS:.*]] = linalg.generic
// CHECK-SAME: iterator_types = ["parallel", "reduction"]
// CHECK-SAME: ins(%arg0, %{{.*}} : tensor<i32>, tensor<2048xi32>)
func.func @short(%s: tensor<i32>) -> tensor<4xi32> {
  %zero = arith.constant 0 : i32
  %out0 = tensor.empty() : tensor<4xi32>
  %init = linalg.fill ins(%zero : i32) outs(%out0 : tensor<4xi32>) -> tensor<4xi32>
  %out1 = tensor.empty() : tensor<4x8xi32>
  %wide = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> ()>, affine_map<(d0, d1) -> (d0, d1)>],
                          iterator_types = ["parallel", "parallel"]}
      ins(%s : tensor<i32>) outs(%out1 : tensor<4x8xi32>) {
  ^bb0(%x: i32, %o: i32):
    %xx = arith.muli %x, %x : i32
    linalg.yield %xx : i32
  } -> tensor<4x8xi32>
  %sum = linalg.reduce { arith.addi } ins(%wide : tensor<4x8xi32>) outs(%init : tensor<4xi32>) dimensions = [1]
  return %sum : tensor<4xi32>
}
func.func @long(%s: tensor<i32>) -> tensor<i32> {
  %zero = arith.constant 0 : i32
  %out0 = tensor.empty() : tensor<i32>
  %init = linalg.fill ins(%zero : i32) outs(%out0 : tensor<i32>) -> tensor<i32>
  %out1 = tensor.empty() : tensor<32768xi32>
  %wide = linalg.generic {indexing_maps = [affine_map<(d0) -> ()>, affine_map<(d0) -> (d0)>],
                          iterator_types = ["parallel"]}
      ins(%s : tensor<i32>) outs(%out1 : tensor<32768xi32>) {
  ^bb0(%x: i32, %o: i32):
    %xx = arith.muli %x, %x : i32
    linalg.yield %xx : i32
  } -> tensor<32768xi32>
  %sum = linalg.reduce { arith.addi } ins(%wide : tensor<32768xi32>) outs(%init : tensor<i32>) dimensions = [0]
  return %sum : tensor<i32>
}
