// RUN: split-reductions backend=cuda
// Sums of products with a scalar, and of what is negated, are spelled so that IREE's code generator
// for CUDA compiles them. The bits are the same.
// CHECK-LABEL: func.func @product
// CHECK: %[[TERM:.*]] = math.fma
// CHECK: arith.addf %[[TERM]]
// CHECK-LABEL: func.func @negation
// CHECK: %[[TERM:.*]] = math.fma
// CHECK: arith.addf %[[TERM]]
// CHECK-LABEL: func.func @read_twice
// CHECK: math.fma
// CHECK-NOT: arith.negf
func.func @product(%x: tensor<64xf32>, %s: tensor<f32>) -> tensor<f32> {
  %zero = arith.constant 0.0 : f32
  %out0 = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out0 : tensor<f32>) -> tensor<f32>
  %out1 = tensor.empty() : tensor<64xf32>
  %scaled = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>, affine_map<(d0) -> (d0)>],
                            iterator_types = ["parallel"]}
      ins(%x, %s : tensor<64xf32>, tensor<f32>) outs(%out1 : tensor<64xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %ab = arith.mulf %a, %b : f32
    linalg.yield %ab : f32
  } -> tensor<64xf32>
  %sum = linalg.reduce { arith.addf } ins(%scaled : tensor<64xf32>) outs(%init : tensor<f32>) dimensions = [0]
  return %sum : tensor<f32>
}
func.func @negation(%x: tensor<64xf32>) -> tensor<f32> {
  %zero = arith.constant 0.0 : f32
  %out0 = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out0 : tensor<f32>) -> tensor<f32>
  %out1 = tensor.empty() : tensor<64xf32>
  %less = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>],
                          iterator_types = ["parallel"]}
      ins(%x : tensor<64xf32>) outs(%out1 : tensor<64xf32>) {
  ^bb0(%a: f32, %o: f32):
    %n = arith.negf %a : f32
    linalg.yield %n : f32
  } -> tensor<64xf32>
  %sum = linalg.reduce { arith.addf } ins(%less : tensor<64xf32>) outs(%init : tensor<f32>) dimensions = [0]
  return %sum : tensor<f32>
}
func.func @read_twice(%x: tensor<8x8xf32>) -> (tensor<8xf32>, tensor<8x8xf32>) {
  %zero = arith.constant 0.0 : f32
  %out0 = tensor.empty() : tensor<8xf32>
  %init = linalg.fill ins(%zero : f32) outs(%out0 : tensor<8xf32>) -> tensor<8xf32>
  %out1 = tensor.empty() : tensor<8x8xf32>
  %less = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>],
                          iterator_types = ["parallel", "parallel"]}
      ins(%x : tensor<8x8xf32>) outs(%out1 : tensor<8x8xf32>) {
  ^bb0(%a: f32, %o: f32):
    %n = arith.negf %a : f32
    linalg.yield %n : f32
  } -> tensor<8x8xf32>
  %sum = linalg.reduce { arith.addf } ins(%less : tensor<8x8xf32>) outs(%init : tensor<8xf32>) dimensions = [1]
  return %sum, %less : tensor<8xf32>, tensor<8x8xf32>
}
