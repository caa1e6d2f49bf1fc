// RUN: expand-math backend=vulkan
// EXECUTE: close
// A Vulkan driver is trusted with none of them.
// CHECK-LABEL: func.func @step
// CHECK: linalg.generic
// CHECK-NOT: math.
// CHECK: return
func.func @step(%x: tensor<8xf32>) -> tensor<8xf32> {
  %out = tensor.empty() : tensor<8xf32>
  %y = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%x : tensor<8xf32>) outs(%out : tensor<8xf32>) {
    ^bb0(%in: f32, %unused: f32):
      %a = math.sin %in : f32
      %b = math.cos %in : f32
      %c = math.exp %a : f32
      %d = math.log %c : f32
      %e = math.expm1 %d : f32
      %f = math.tanh %e : f32
      %g = math.erf %f : f32
      %h = arith.mulf %g, %g : f32
      %i = math.log1p %h : f32
      %j = arith.addf %i, %b : f32
      %k = math.powf %c, %j : f32
      linalg.yield %k : f32
  } -> tensor<8xf32>
  return %y : tensor<8xf32>
}
