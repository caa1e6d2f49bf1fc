// Stochastic gradient descent with decay: p - (lr / sqrt(t)) * g, t = global step + 1.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %p: tensor<64x32xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 0 : index},
      %g: tensor<64x32xf32> {stepforge.name = "/w", stepforge.role = "gradient"},
      %lr: f32 {stepforge.name = "/optimizers/learning_rate", stepforge.role = "hyperparameter"},
      %t: i64 {stepforge.name = "/global_step", stepforge.role = "counter", stepforge.result = 1 : index})
      -> (tensor<64x32xf32>, i64) {
    %lr0 = tensor.from_elements %lr : tensor<f32>
    %t0 = tensor.from_elements %t : tensor<i64>
    %one = arith.constant dense<1> : tensor<i64>
    %t1 = arith.addi %t0, %one : tensor<i64>
    %tf = arith.sitofp %t1 : tensor<i64> to tensor<f32>
    %root = math.sqrt %tf : tensor<f32>
    %rate = arith.divf %lr0, %root : tensor<f32>
    %rate_out = tensor.empty() : tensor<64x32xf32>
    %rates = linalg.broadcast ins(%rate : tensor<f32>) outs(%rate_out : tensor<64x32xf32>) dimensions = [0, 1]
    %delta = arith.mulf %rates, %g : tensor<64x32xf32>
    %new_p = arith.subf %p, %delta : tensor<64x32xf32>
    %new_t = tensor.extract %t1[] : tensor<i64>
    return %new_p, %new_t : tensor<64x32xf32>, i64
  }
}
