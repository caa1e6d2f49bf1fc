// RUN: fold-hyperparameters
// What depends on a reduction is known on the device alone.
// CHECK-LABEL: func.func @step
// CHECK: %[[SUM:.*]] = linalg.reduce
// CHECK: math.sqrt %[[SUM]] : tensor<f32>
// CHECK: arith.mulf %{{.*}}, %{{.*}} : tensor<f32>
func.func @step(%g: tensor<8xf32>, %lr: f32) -> tensor<f32> {
  %zero = arith.constant 0.0 : f32
  %out = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce { arith.addf } ins(%g : tensor<8xf32>) outs(%init : tensor<f32>) dimensions = [0]
  %root = math.sqrt %sum : tensor<f32>
  %lr0 = tensor.from_elements %lr : tensor<f32>
  %scaled = arith.mulf %root, %lr0 : tensor<f32>
  return %scaled : tensor<f32>
}
