// RUN: join-rows backend=cpu
// What else reads a maximum would wait for the update.
// CHECK-NOT: flow.dispatch.region
// CHECK: linalg.reduce
// CHECK-NOT: flow.dispatch.region
// CHECK: return
#id = affine_map<(d0, d1) -> (d0, d1)>
#row = affine_map<(d0, d1) -> (d0)>
#one = affine_map<(d0) -> (d0)>
func.func @step(%p: tensor<6x40xf32>, %s: tensor<6xf32>, %g: tensor<6x40xf32>) -> (tensor<6x40xf32>, tensor<6xf32>, tensor<6xf32>) {
  %low = arith.constant 0xFF800000 : f32
  %half = arith.constant 0.5 : f32
  %rows = tensor.empty() : tensor<6xf32>
  %all = tensor.empty() : tensor<6x40xf32>
  %u = linalg.generic {indexing_maps = [#one, #one], iterator_types = ["parallel"]} ins(%s : tensor<6xf32>) outs(%rows : tensor<6xf32>) {
  ^bb0(%a: f32, %o: f32):
    %x = arith.mulf %a, %half : f32
    linalg.yield %x : f32
  } -> tensor<6xf32>
  %unit = iree_tensor_ext.compute_barrier.start %u : tensor<6xf32> -> tensor<6xf32>
  %m = linalg.generic {indexing_maps = [#id, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%g, %unit : tensor<6x40xf32>, tensor<6xf32>) outs(%all : tensor<6x40xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %x = arith.mulf %a, %b : f32
    %y = math.absf %x : f32
    linalg.yield %y : f32
  } -> tensor<6x40xf32>
  %start = linalg.fill ins(%low : f32) outs(%rows : tensor<6xf32>) -> tensor<6xf32>
  %max = linalg.reduce { arith.maximumf } ins(%m : tensor<6x40xf32>) outs(%start : tensor<6xf32>) dimensions = [1]
  %top = iree_tensor_ext.compute_barrier.start %max : tensor<6xf32> -> tensor<6xf32>
  %new = linalg.generic {indexing_maps = [#id, #id, #row, #row, #id], iterator_types = ["parallel", "parallel"]} ins(%p, %g, %unit, %top : tensor<6x40xf32>, tensor<6x40xf32>, tensor<6xf32>, tensor<6xf32>) outs(%all : tensor<6x40xf32>) {
  ^bb0(%a: f32, %b: f32, %c: f32, %d: f32, %o: f32):
    %x = arith.mulf %b, %c : f32
    %y = arith.divf %x, %d : f32
    %z = arith.subf %a, %y : f32
    linalg.yield %z : f32
  } -> tensor<6x40xf32>
  %scale = linalg.generic {indexing_maps = [#one, #one], iterator_types = ["parallel"]} ins(%top : tensor<6xf32>) outs(%rows : tensor<6xf32>) {
  ^bb0(%a: f32, %o: f32):
    %x = arith.addf %a, %half : f32
    linalg.yield %x : f32
  } -> tensor<6xf32>
  return %new, %scale, %max : tensor<6x40xf32>, tensor<6xf32>, tensor<6xf32>
}
