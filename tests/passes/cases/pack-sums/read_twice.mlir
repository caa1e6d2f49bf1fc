// RUN: pack-sums
// A sum that is read by itself too stays.
// CHECK-COUNT-2: linalg.reduce
func.func @norm(%g: tensor<32xf32> {stepforge.members = {align = 16 : index, names = ["/a", "/b"], size = 32 : index}, stepforge.name = "@arena0", stepforge.role = "gradient"}) -> tensor<f32> {
  %pa = tensor.extract_slice %g[0] [12] [1] : tensor<32xf32> to tensor<12xf32>
  %a = tensor.expand_shape %pa [[0, 1]] output_shape [4, 3] : tensor<12xf32> into tensor<4x3xf32>
  %b = tensor.extract_slice %g[16] [5] [1] : tensor<32xf32> to tensor<5xf32>
  %zero = arith.constant 0.0 : f32
  %e0 = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%e0 : tensor<f32>) -> tensor<f32>
  %ea = tensor.empty() : tensor<4x3xf32>
  %ta = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}
      ins(%a : tensor<4x3xf32>) outs(%ea : tensor<4x3xf32>) {
  ^bb0(%x: f32, %o: f32):
    %y = arith.mulf %x, %x : f32
    linalg.yield %y : f32
  } -> tensor<4x3xf32>
  %sa = linalg.reduce { arith.addf } ins(%ta : tensor<4x3xf32>) outs(%init : tensor<f32>) dimensions = [0, 1]
  %eb = tensor.empty() : tensor<5xf32>
  %tb = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%b : tensor<5xf32>) outs(%eb : tensor<5xf32>) {
  ^bb0(%x: f32, %o: f32):
    %y = arith.mulf %x, %x : f32
    linalg.yield %y : f32
  } -> tensor<5xf32>
  %sb = linalg.reduce { arith.addf } ins(%tb : tensor<5xf32>) outs(%init : tensor<f32>) dimensions = [0]
  %r = linalg.generic {indexing_maps = [affine_map<() -> ()>, affine_map<() -> ()>, affine_map<() -> ()>], iterator_types = []}
      ins(%sa, %sb : tensor<f32>, tensor<f32>) outs(%e0 : tensor<f32>) {
  ^bb0(%p: f32, %q: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    %n = arith.divf %s, %q : f32
    linalg.yield %n : f32
  } -> tensor<f32>
  return %r : tensor<f32>
}
