// RUN: split-reductions
// REFUSED: its body uses the position of an element
func.func @step(%g: tensor<16385xf32>) -> tensor<f32> {
  %zero = arith.constant 0.0 : f32
  %out = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%out : tensor<f32>) -> tensor<f32>
  %sum = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>], iterator_types = ["reduction"]}
      ins(%g : tensor<16385xf32>) outs(%init : tensor<f32>) {
  ^bb0(%x: f32, %so_far: f32):
    %i = linalg.index 0 : index
    %n = arith.index_cast %i : index to i32
    %f = arith.sitofp %n : i32 to f32
    %y = arith.mulf %x, %f : f32
    %next = arith.addf %so_far, %y : f32
    linalg.yield %next : f32
  } -> tensor<f32>
  return %sum : tensor<f32>
}
