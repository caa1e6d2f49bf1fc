// RUN: wrap-entry-points
// The first tensor says how long all are; importing the others compares their lengths with it.
// CHECK: tensor<?xf32>
// CHECK: util.func public @step
// CHECK: hal.buffer_view.dim<%arg0 : !hal.buffer_view>[0] : index
// CHECK: hal.tensor.import wait(%arg2) => consume %arg0 "parameter @arena0" : !hal.buffer_view -> tensor<?xf32>{%0}
// CHECK: hal.tensor.import wait(%arg2) => %arg1 "gradient @arena1" : !hal.buffer_view -> tensor<?xf32>{%0}
// CHECK: hal.tensor.alias wait(%arg2) => %{{.*}} : tensor<?xf32>{%0} to %arg0
// CHECK: hal.tensor.export %{{.*}} "result 0" : tensor<?xf32>{%0} -> !hal.buffer_view
// EXECUTE: no
#id = affine_map<(d0) -> (d0)>
func.func @step(%p: tensor<?xf32> {iree.abi.output = 0 : index, stepforge.name = "@arena0", stepforge.role = "parameter", stepforge.result = 0 : index},
                %g: tensor<?xf32> {stepforge.name = "@arena1", stepforge.role = "gradient"}) -> tensor<?xf32> {
  %c0 = arith.constant 0 : index
  %n = tensor.dim %p, %c0 : tensor<?xf32>
  %e = tensor.empty(%n) : tensor<?xf32>
  %r = linalg.generic {indexing_maps = [#id, #id, #id], iterator_types = ["parallel"]} ins(%p, %g : tensor<?xf32>, tensor<?xf32>) outs(%e : tensor<?xf32>) {
  ^bb0(%a: f32, %b: f32, %o: f32):
    %q = arith.subf %a, %b : f32
    linalg.yield %q : f32
  } -> tensor<?xf32>
  return %r : tensor<?xf32>
}
