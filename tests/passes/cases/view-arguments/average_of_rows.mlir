// RUN: view-arguments
// EXECUTE: no
// The average of a parameter that is computed in rows, and what a skipped step keeps, are computed in
// rows too; a gradient that something else reads in its own shape is computed in both.
// CHECK: func.func @step(%[[P:.*]]: tensor<8x2xf32> {{{.*}}stepforge.view = tensor<4x4xf32>}, %[[A:.*]]: tensor<8x2xf32> {{{.*}}stepforge.view = tensor<4x4xf32>}, %[[G:.*]]: tensor<4x4xf32>
// CHECK-SAME: -> (tensor<8x2xf32>, tensor<8x2xf32>, tensor<4x4xf32>)
// CHECK: %[[ROWS:.*]] = tensor.expand_shape
// CHECK: %[[NEG:.*]] = arith.negf %[[ROWS]] : tensor<8x2xf32>
// CHECK: %[[NEW:.*]] = arith.subf %[[P]], %[[NEG]] : tensor<8x2xf32>
// CHECK: %[[KEPT:.*]] = arith.select %{{.*}}, %[[NEW]], %[[P]] : tensor<8x2xi1>, tensor<8x2xf32>
// CHECK: %[[SUM:.*]] = arith.addf %[[A]], %[[KEPT]] : tensor<8x2xf32>
// CHECK: return %[[KEPT]], %[[SUM]], %{{.*}} : tensor<8x2xf32>, tensor<8x2xf32>, tensor<4x4xf32>
func.func @step(%p: tensor<4x4xf32> {stepforge.role = "parameter", stepforge.name = "/p", stepforge.result = 0 : index},
                %a: tensor<4x4xf32> {stepforge.role = "slot", stepforge.name = "/p_ema", stepforge.result = 1 : index},
                %g: tensor<4x4xf32> {stepforge.role = "gradient", stepforge.name = "/p"},
                %good: tensor<i1>) -> (tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>) {
  %neg = arith.negf %g : tensor<4x4xf32>
  %t = tensor.empty() : tensor<4x4xf32>
  %turned = linalg.transpose ins(%neg : tensor<4x4xf32>) outs(%t : tensor<4x4xf32>) permutation = [1, 0]
  %pf = tensor.collapse_shape %p [[0, 1]] : tensor<4x4xf32> into tensor<16xf32>
  %pr = tensor.expand_shape %pf [[0, 1]] output_shape [8, 2] : tensor<16xf32> into tensor<8x2xf32>
  %gf = tensor.collapse_shape %neg [[0, 1]] : tensor<4x4xf32> into tensor<16xf32>
  %gr = tensor.expand_shape %gf [[0, 1]] output_shape [8, 2] : tensor<16xf32> into tensor<8x2xf32>
  %new = arith.subf %pr, %gr : tensor<8x2xf32>
  %nf = tensor.collapse_shape %new [[0, 1]] : tensor<8x2xf32> into tensor<16xf32>
  %nr = tensor.expand_shape %nf [[0, 1]] output_shape [4, 4] : tensor<16xf32> into tensor<4x4xf32>
  %e = tensor.empty() : tensor<4x4xi1>
  %all = linalg.broadcast ins(%good : tensor<i1>) outs(%e : tensor<4x4xi1>) dimensions = [0, 1]
  %kept = arith.select %all, %nr, %p : tensor<4x4xi1>, tensor<4x4xf32>
  %sum = arith.addf %a, %kept : tensor<4x4xf32>
  return %kept, %sum, %turned : tensor<4x4xf32>, tensor<4x4xf32>, tensor<4x4xf32>
}
