// RUN: fuse-step-math
// EXECUTE: close
// A clip factor, and whether to step: one loop of rank 0 takes the sums and gives the numbers that
// both updates, and the counter's, read. The bool is made again where it is read.
// CHECK-LABEL: func.func @step
// CHECK: %[[A:.*]] = linalg.reduce { arith.addf }
// CHECK: %[[B:.*]] = linalg.reduce { arith.addf }
// CHECK: %[[S:[0-9]+]]:2 = linalg.generic {{.*}} iterator_types = []} ins(%[[A]], %[[B]] : tensor<f32>, tensor<f32>)
// CHECK: %[[SUM:.*]] = arith.addf
// CHECK: math.sqrt %[[SUM]] : f32
// CHECK: arith.divf
// CHECK: arith.bitcast %[[SUM]] : f32 to i32
// CHECK: arith.andi
// CHECK: linalg.yield %{{.*}}, %{{.*}} : f32, i32
// CHECK: %[[GOOD:.*]] = iree_tensor_ext.compute_barrier.start %[[S]]#1
// CHECK: %[[FACTOR:.*]] = iree_tensor_ext.compute_barrier.start %[[S]]#0
// CHECK: linalg.generic
// CHECK-SAME: ins(%[[GOOD]], %[[FACTOR]], %arg2, %arg0 :
// CHECK-NOT: math.sqrt
// CHECK: arith.cmpi
// CHECK: linalg.generic
// CHECK-SAME: ins(%[[GOOD]], %[[FACTOR]], %arg3, %arg1 :
// CHECK: linalg.generic
// CHECK-SAME: iterator_types = []} ins(%[[GOOD]], %arg4 : tensor<i32>, tensor<i32>)
// CHECK-NOT: linalg.generic
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %q: tensor<4xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index},
                %g: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                %h: tensor<4xf32> {stepforge.role = "gradient", stepforge.name = "/b"},
                %t: tensor<i32> {stepforge.role = "counter", stepforge.name = "/t", stepforge.result = 2 : index})
    -> (tensor<8xf32>, tensor<4xf32>, tensor<i32>) {
  %zero = arith.constant 0.0 : f32
  %one = arith.constant dense<1.0> : tensor<f32>
  %next = arith.constant dense<1> : tensor<i32>
  %mask = arith.constant dense<2139095040> : tensor<i32>
  %n = tensor.empty() : tensor<f32>
  %start = linalg.fill ins(%zero : f32) outs(%n : tensor<f32>) -> tensor<f32>
  %gg = arith.mulf %g, %g : tensor<8xf32>
  %a = linalg.reduce { arith.addf } ins(%gg : tensor<8xf32>) outs(%start : tensor<f32>) dimensions = [0]
  %hh = arith.mulf %h, %h : tensor<4xf32>
  %b = linalg.reduce { arith.addf } ins(%hh : tensor<4xf32>) outs(%start : tensor<f32>) dimensions = [0]
  %sum = arith.addf %a, %b : tensor<f32>
  %norm = math.sqrt %sum : tensor<f32>
  %factor = arith.divf %one, %norm : tensor<f32>
  %bits = arith.bitcast %sum : tensor<f32> to tensor<i32>
  %exponent = arith.andi %bits, %mask : tensor<i32>
  %good = arith.cmpi ne, %exponent, %mask : tensor<i32>
  %out = tensor.empty() : tensor<8xf32>
  %out4 = tensor.empty() : tensor<4xf32>
  %i1 = tensor.empty() : tensor<8xi1>
  %i14 = tensor.empty() : tensor<4xi1>
  %f8 = linalg.broadcast ins(%factor : tensor<f32>) outs(%out : tensor<8xf32>) dimensions = [0]
  %f4 = linalg.broadcast ins(%factor : tensor<f32>) outs(%out4 : tensor<4xf32>) dimensions = [0]
  %good8 = linalg.broadcast ins(%good : tensor<i1>) outs(%i1 : tensor<8xi1>) dimensions = [0]
  %good4 = linalg.broadcast ins(%good : tensor<i1>) outs(%i14 : tensor<4xi1>) dimensions = [0]
  %u = arith.mulf %f8, %g : tensor<8xf32>
  %v = arith.mulf %f4, %h : tensor<4xf32>
  %new_p = arith.select %good8, %u, %p : tensor<8xi1>, tensor<8xf32>
  %new_q = arith.select %good4, %v, %q : tensor<4xi1>, tensor<4xf32>
  %more = arith.addi %t, %next : tensor<i32>
  %new_t = arith.select %good, %more, %t : tensor<i1>, tensor<i32>
  return %new_p, %new_q, %new_t : tensor<8xf32>, tensor<4xf32>, tensor<i32>
}
