// A counter on the device is read by the loops of two variables and replaced by a third.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %t: tensor<i32> {stepforge.name = "/t", stepforge.role = "buffer", stepforge.result = 0 : index},
      %p: tensor<48x40xf32> {stepforge.name = "/w", stepforge.role = "parameter", stepforge.result = 1 : index},
      %q: tensor<40xf32> {stepforge.name = "/q", stepforge.role = "parameter", stepforge.result = 2 : index})
      -> (tensor<i32>, tensor<48x40xf32>, tensor<40xf32>) {
    %one = arith.constant dense<1> : tensor<i32>
    %new_t = arith.addi %t, %one : tensor<i32>
    %tf = arith.sitofp %t : tensor<i32> to tensor<f32>
    %ts_out = tensor.empty() : tensor<48x40xf32>
    %ts = linalg.broadcast ins(%tf : tensor<f32>) outs(%ts_out : tensor<48x40xf32>) dimensions = [0, 1]
    %tq_out = tensor.empty() : tensor<40xf32>
    %tq = linalg.broadcast ins(%tf : tensor<f32>) outs(%tq_out : tensor<40xf32>) dimensions = [0]
    %new_p = arith.mulf %p, %ts : tensor<48x40xf32>
    %new_q = arith.subf %q, %tq : tensor<40xf32>
    return %new_t, %new_p, %new_q : tensor<i32>, tensor<48x40xf32>, tensor<40xf32>
  }
}
