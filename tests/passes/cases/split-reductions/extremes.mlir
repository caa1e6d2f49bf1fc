// RUN: split-reductions
// CHECK-LABEL: func.func @step
// CHECK-DAG: arith.constant 0xFF800000 : f32
// CHECK-DAG: arith.constant 0x7F800000 : f32
// CHECK-DAG: arith.constant -2147483648 : i32
// CHECK-NOT: linalg.reduce
func.func @step(%g: tensor<20001xf32>, %n: tensor<20001xi32>) -> (tensor<f32>, tensor<f32>, tensor<i32>) {
  %low = arith.constant 0xFF800000 : f32
  %high = arith.constant 0x7F800000 : f32
  %least = arith.constant -2147483648 : i32
  %out = tensor.empty() : tensor<f32>
  %out_n = tensor.empty() : tensor<i32>
  %init0 = linalg.fill ins(%low : f32) outs(%out : tensor<f32>) -> tensor<f32>
  %init1 = linalg.fill ins(%high : f32) outs(%out : tensor<f32>) -> tensor<f32>
  %init2 = linalg.fill ins(%least : i32) outs(%out_n : tensor<i32>) -> tensor<i32>
  %max = linalg.reduce { arith.maximumf } ins(%g : tensor<20001xf32>) outs(%init0 : tensor<f32>) dimensions = [0]
  %min = linalg.reduce { arith.minimumf } ins(%g : tensor<20001xf32>) outs(%init1 : tensor<f32>) dimensions = [0]
  %top = linalg.reduce { arith.maxsi } ins(%n : tensor<20001xi32>) outs(%init2 : tensor<i32>) dimensions = [0]
  return %max, %min, %top : tensor<f32>, tensor<f32>, tensor<i32>
}
