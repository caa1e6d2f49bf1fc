// RUN: split-reductions backend=cpu vector_bytes=64
// Two rows of 29 pieces of 16 neighbours and their number of non-zero elements, exactly.
// CHECK: output_shape [2, {{[0-9]+}}, {{[0-9]+}}, {{[0-9]+}}, 16]
// CHECK: iterator_types = ["parallel", "parallel", "reduction", "reduction"]
// CHECK: linalg.reduce{{.*}}dimensions = [1]
func.func @step(%g: tensor<2x29696xi32>, %h: tensor<40x29xi32>) -> (tensor<2xi32>, tensor<40xi32>) {
  %z = arith.constant 0 : i32
  %e = tensor.empty() : tensor<2xi32>
  %f = linalg.fill ins(%z : i32) outs(%e : tensor<2xi32>) -> tensor<2xi32>
  %r = linalg.reduce { arith.maxsi } ins(%g : tensor<2x29696xi32>) outs(%f : tensor<2xi32>) dimensions = [1]
  %e1 = tensor.empty() : tensor<40xi32>
  %f1 = linalg.fill ins(%z : i32) outs(%e1 : tensor<40xi32>) -> tensor<40xi32>
  %r1 = linalg.reduce { arith.addi } ins(%h : tensor<40x29xi32>) outs(%f1 : tensor<40xi32>) dimensions = [1]
  return %r, %r1 : tensor<2xi32>, tensor<40xi32>
}
