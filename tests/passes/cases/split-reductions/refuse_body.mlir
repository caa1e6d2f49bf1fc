// RUN: split-reductions
// REFUSED: its body is not one operation that combines one term with the result
func.func @step(%g: tensor<16385xf32>) -> tensor<f32> {
  %zero = arith.constant 0.0 : f32
  %out = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out : tensor<f32>) -> tensor<f32>
  %sum = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>], iterator_types = ["reduction"]}
      ins(%g : tensor<16385xf32>) outs(%init : tensor<f32>) {
  ^bb0(%x: f32, %so_far: f32):
    %half = arith.mulf %so_far, %x : f32
    %next = arith.addf %so_far, %half : f32
    linalg.yield %next : f32
  } -> tensor<f32>
  return %sum : tensor<f32>
}
