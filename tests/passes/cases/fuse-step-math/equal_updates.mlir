// RUN: fuse-step-math
// A term that two updates share stands before both; their loops are in one order all the same, so
// that IREE keeps one of them.
// CHECK-LABEL: func.func @step
// CHECK: ^bb0(%[[P:.*]]: f32, %[[T:.*]]: f32, %{{.*}}: f32):
// CHECK-NEXT: %[[A:.*]] = math.absf %[[P]]
// CHECK-NEXT: %[[B:.*]] = math.sqrt %[[T]]
// CHECK-NEXT: arith.mulf %[[A]], %[[B]]
// CHECK: ^bb0(%[[P2:.*]]: f32, %[[T2:.*]]: f32, %{{.*}}: f32):
// CHECK-NEXT: %[[A2:.*]] = math.absf %[[P2]]
// CHECK-NEXT: %[[B2:.*]] = math.sqrt %[[T2]]
// CHECK-NEXT: arith.mulf %[[A2]], %[[B2]]
func.func @step(%p: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/p", stepforge.result = 0 : index},
                %q: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/q", stepforge.result = 1 : index},
                %x: tensor<8xf32> {stepforge.role = "input", stepforge.name = "x"}) -> (tensor<8xf32>, tensor<8xf32>) {
  %a = math.absf %p : tensor<8xf32>
  %shared = math.sqrt %x : tensor<8xf32>
  %new_p = arith.mulf %a, %shared : tensor<8xf32>
  %b = math.absf %q : tensor<8xf32>
  %new_q = arith.mulf %b, %shared : tensor<8xf32>
  return %new_p, %new_q : tensor<8xf32>, tensor<8xf32>
}
