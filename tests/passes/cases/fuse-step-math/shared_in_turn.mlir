// RUN: fuse-step-math
// EXECUTE: close
// A scalar made of a sum of what another scalar scaled waits for it, in a loop of its own.
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic {{.*}} iterator_types = []}
// CHECK: math.exp
// CHECK: linalg.reduce
// CHECK: linalg.generic {{.*}} iterator_types = []}
// CHECK-NOT: math.exp
// CHECK: math.sqrt
// CHECK: linalg.generic
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %x: tensor<f32> {stepforge.role = "input", stepforge.name = "/x"}) -> tensor<8xf32> {
  %zero = arith.constant 0.0 : f32
  %two = arith.constant dense<2.0> : tensor<f32>
  %n = tensor.empty() : tensor<f32>
  %out = tensor.empty() : tensor<8xf32>
  %start = linalg.fill ins(%zero : f32) outs(%n : tensor<f32>) -> tensor<f32>
  %double = arith.mulf %x, %two : tensor<f32>
  %scale = math.exp %double : tensor<f32>
  %all = linalg.broadcast ins(%scale : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %scaled = arith.mulf %p, %all : tensor<8xf32>
  %squares = arith.mulf %scaled, %scaled : tensor<8xf32>
  %sum = linalg.reduce { arith.addf } ins(%squares : tensor<8xf32>) outs(%start : tensor<f32>) dimensions = [0]
  %norm = math.sqrt %sum : tensor<f32>
  %ratio = arith.divf %scale, %norm : tensor<f32>
  %ratios = linalg.broadcast ins(%ratio : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %new_p = arith.mulf %scaled, %ratios : tensor<8xf32>
  return %new_p : tensor<8xf32>
}
