// AdamW with bias correction on the host.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %p: tensor<64x32xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 0 : index},
      %m: tensor<64x32xf32> {stepforge.name = "/AdamOptimizer/w_1st_moment", stepforge.role = "slot", stepforge.result = 1 : index},
      %v: tensor<64x32xf32> {stepforge.name = "/AdamOptimizer/w_2nd_moment", stepforge.role = "slot", stepforge.result = 2 : index},
      %g: tensor<64x32xf32> {stepforge.name = "/w", stepforge.role = "gradient"},
      %lr: f32 {stepforge.name = "/optimizers/learning_rate", stepforge.role = "hyperparameter"},
      %t: i64 {stepforge.name = "/AdamOptimizer/step", stepforge.role = "counter", stepforge.result = 3 : index})
      -> (tensor<64x32xf32>, tensor<64x32xf32>, tensor<64x32xf32>, i64) {
    %lr0 = tensor.from_elements %lr : tensor<f32>
    %t0 = tensor.from_elements %t : tensor<i64>
    %one = arith.constant dense<1> : tensor<i64>
    %t1 = arith.addi %t0, %one : tensor<i64>
    %tf = arith.sitofp %t1 : tensor<i64> to tensor<f32>
    %log1 = arith.constant dense<-0.105360515657826301> : tensor<f32>
    %x1 = arith.mulf %tf, %log1 : tensor<f32>
    %e1 = math.expm1 %x1 : tensor<f32>
    %d1 = arith.negf %e1 : tensor<f32>
    %log2 = arith.constant dense<-0.00100050033358353350> : tensor<f32>
    %x2 = arith.mulf %tf, %log2 : tensor<f32>
    %e2 = math.expm1 %x2 : tensor<f32>
    %d2 = arith.negf %e2 : tensor<f32>
    %rate = arith.divf %lr0, %d1 : tensor<f32>
    %root = math.sqrt %d2 : tensor<f32>
    %unit = arith.constant dense<1.0> : tensor<f32>
    %scale = arith.divf %unit, %root : tensor<f32>
    %wd = arith.constant dense<0.004> : tensor<f32>
    %decay = arith.mulf %lr0, %wd : tensor<f32>
    %b1 = arith.constant dense<0.9> : tensor<f32>
    %c1 = arith.constant dense<0.1> : tensor<f32>
    %b1s_out = tensor.empty() : tensor<64x32xf32>
    %b1s = linalg.broadcast ins(%b1 : tensor<f32>) outs(%b1s_out : tensor<64x32xf32>) dimensions = [0, 1]
    %c1s_out = tensor.empty() : tensor<64x32xf32>
    %c1s = linalg.broadcast ins(%c1 : tensor<f32>) outs(%c1s_out : tensor<64x32xf32>) dimensions = [0, 1]
    %b2 = arith.constant dense<0.999> : tensor<f32>
    %c2 = arith.constant dense<0.001> : tensor<f32>
    %b2s_out = tensor.empty() : tensor<64x32xf32>
    %b2s = linalg.broadcast ins(%b2 : tensor<f32>) outs(%b2s_out : tensor<64x32xf32>) dimensions = [0, 1]
    %c2s_out = tensor.empty() : tensor<64x32xf32>
    %c2s = linalg.broadcast ins(%c2 : tensor<f32>) outs(%c2s_out : tensor<64x32xf32>) dimensions = [0, 1]
    %m_old = arith.mulf %b1s, %m : tensor<64x32xf32>
    %m_add = arith.mulf %c1s, %g : tensor<64x32xf32>
    %new_m = arith.addf %m_old, %m_add : tensor<64x32xf32>
    %v_old = arith.mulf %b2s, %v : tensor<64x32xf32>
    %gg = arith.mulf %g, %g : tensor<64x32xf32>
    %v_add = arith.mulf %c2s, %gg : tensor<64x32xf32>
    %new_v = arith.addf %v_old, %v_add : tensor<64x32xf32>
    %rates_out = tensor.empty() : tensor<64x32xf32>
    %rates = linalg.broadcast ins(%rate : tensor<f32>) outs(%rates_out : tensor<64x32xf32>) dimensions = [0, 1]
    %scales_out = tensor.empty() : tensor<64x32xf32>
    %scales = linalg.broadcast ins(%scale : tensor<f32>) outs(%scales_out : tensor<64x32xf32>) dimensions = [0, 1]
    %eps = arith.constant dense<1.0e-7> : tensor<f32>
    %epss_out = tensor.empty() : tensor<64x32xf32>
    %epss = linalg.broadcast ins(%eps : tensor<f32>) outs(%epss_out : tensor<64x32xf32>) dimensions = [0, 1]
    %decays_out = tensor.empty() : tensor<64x32xf32>
    %decays = linalg.broadcast ins(%decay : tensor<f32>) outs(%decays_out : tensor<64x32xf32>) dimensions = [0, 1]
    %num = arith.mulf %rates, %new_m : tensor<64x32xf32>
    %sq = math.sqrt %new_v : tensor<64x32xf32>
    %sqs = arith.mulf %sq, %scales : tensor<64x32xf32>
    %den = arith.addf %sqs, %epss : tensor<64x32xf32>
    %q = arith.divf %num, %den : tensor<64x32xf32>
    %shrink = arith.mulf %decays, %p : tensor<64x32xf32>
    %delta = arith.addf %q, %shrink : tensor<64x32xf32>
    %raw_p = arith.subf %p, %delta : tensor<64x32xf32>
    %new_t = tensor.extract %t1[] : tensor<i64>
    return %raw_p, %new_m, %new_v, %new_t : tensor<64x32xf32>, tensor<64x32xf32>, tensor<64x32xf32>, i64
  }
}
