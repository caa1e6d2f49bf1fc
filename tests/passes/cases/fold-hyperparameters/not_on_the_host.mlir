// RUN: fold-hyperparameters
// The VM has no tangent and no bf16: such math stays on rank-0 tensors, for the loop that reads it.
// CHECK-LABEL: func.func @step
// CHECK: %[[SUM:.*]] = arith.addf %arg1, %arg1 : f32
// CHECK: %[[HOST:.*]] = util.optimization_barrier %[[SUM]] : f32
// CHECK: %[[TENSOR:.*]] = tensor.from_elements %[[HOST]] : tensor<f32>
// CHECK: %[[TAN:.*]] = math.tan %[[TENSOR]] : tensor<f32>
// CHECK: arith.truncf %[[TAN]] : tensor<f32> to tensor<bf16>
func.func @step(%p: tensor<8xbf16>, %a: f32) -> tensor<8xbf16> {
  %a0 = tensor.from_elements %a : tensor<f32>
  %sum = arith.addf %a0, %a0 : tensor<f32>
  %tan = math.tan %sum : tensor<f32>
  %narrow = arith.truncf %tan : tensor<f32> to tensor<bf16>
  %out = tensor.empty() : tensor<8xbf16>
  %s = linalg.broadcast ins(%narrow : tensor<bf16>) outs(%out : tensor<8xbf16>) dimensions = [0]
  %new_p = arith.mulf %p, %s : tensor<8xbf16>
  return %new_p : tensor<8xbf16>
}
