// A small training step: the gradients of two layers read the weights that the step replaces.
module attributes {stepforge.abi = 1 : i64} {
  func.func @step(
      %a: tensor<40x40xf32> {stepforge.name = "/a", stepforge.role = "parameter", stepforge.result = 0 : index},
      %b: tensor<40x40xf32> {stepforge.name = "/b", stepforge.role = "parameter", stepforge.result = 1 : index},
      %x: tensor<24x40xf32> {stepforge.name = "/x", stepforge.role = "input"})
      -> (tensor<40x40xf32>, tensor<40x40xf32>) {
    %zero = arith.constant 0.0 : f32
    %out = tensor.empty() : tensor<24x40xf32>
    %init = linalg.fill ins(%zero : f32) outs(%out : tensor<24x40xf32>) -> tensor<24x40xf32>
    %out2 = tensor.empty() : tensor<40x40xf32>
    %init2 = linalg.fill ins(%zero : f32) outs(%out2 : tensor<40x40xf32>) -> tensor<40x40xf32>
    %h = linalg.matmul ins(%x, %a : tensor<24x40xf32>, tensor<40x40xf32>) outs(%init : tensor<24x40xf32>) -> tensor<24x40xf32>
    %zeros = arith.constant dense<0.0> : tensor<24x40xf32>
    %r = arith.maximumf %h, %zeros : tensor<24x40xf32>
    %y = linalg.matmul ins(%r, %b : tensor<24x40xf32>, tensor<40x40xf32>) outs(%init : tensor<24x40xf32>) -> tensor<24x40xf32>
    %out3 = tensor.empty() : tensor<40x24xf32>
    %rt = linalg.transpose ins(%r : tensor<24x40xf32>) outs(%out3 : tensor<40x24xf32>) permutation = [1, 0]
    %gb = linalg.matmul ins(%rt, %y : tensor<40x24xf32>, tensor<24x40xf32>) outs(%init2 : tensor<40x40xf32>) -> tensor<40x40xf32>
    %bt = linalg.transpose ins(%b : tensor<40x40xf32>) outs(%out2 : tensor<40x40xf32>) permutation = [1, 0]
    %gr = linalg.matmul ins(%y, %bt : tensor<24x40xf32>, tensor<40x40xf32>) outs(%init : tensor<24x40xf32>) -> tensor<24x40xf32>
    %on = arith.cmpf ogt, %h, %zeros : tensor<24x40xf32>
    %gh = arith.select %on, %gr, %zeros : tensor<24x40xi1>, tensor<24x40xf32>
    %xt = linalg.transpose ins(%x : tensor<24x40xf32>) outs(%out3 : tensor<40x24xf32>) permutation = [1, 0]
    %ga = linalg.matmul ins(%xt, %gh : tensor<40x24xf32>, tensor<24x40xf32>) outs(%init2 : tensor<40x40xf32>) -> tensor<40x40xf32>
    %rate = arith.constant dense<1.0e-4> : tensor<40x40xf32>
    %sa = arith.mulf %ga, %rate : tensor<40x40xf32>
    %sb = arith.mulf %gb, %rate : tensor<40x40xf32>
    %new_b = arith.subf %b, %sb : tensor<40x40xf32>
    %new_a = arith.subf %a, %sa : tensor<40x40xf32>
    return %new_a, %new_b : tensor<40x40xf32>, tensor<40x40xf32>
  }
}
