// RUN: pack-variables
// EXECUTE: no
// A part of rank 0 is a view too, where something else reads it.
// CHECK: func.func @reduce
// CHECK: %[[B:.*]] = tensor.extract_slice %{{.*}}[16] [1] [1] : tensor<32xf32> to tensor<1xf32>
// CHECK: tensor.collapse_shape %[[B]] [] : tensor<1xf32> into tensor<f32>
func.func @step(%a: tensor<4x3xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %b: tensor<f32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index},
                %ga: tensor<4x3xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                %gb: tensor<f32> {stepforge.role = "gradient", stepforge.name = "/b"},
                %rate: f32 {stepforge.role = "hyperparameter", stepforge.name = "/rate"})
    -> (tensor<4x3xf32>, tensor<f32>) {
  %na_e = tensor.empty() : tensor<4x3xf32>
  %na = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}
      ins(%a, %ga : tensor<4x3xf32>, tensor<4x3xf32>) outs(%na_e : tensor<4x3xf32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %x = arith.mulf %rate, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<4x3xf32>
  %nb_e = tensor.empty() : tensor<f32>
  %nb = linalg.generic {indexing_maps = [affine_map<() -> ()>, affine_map<() -> ()>, affine_map<() -> ()>], iterator_types = []}
      ins(%b, %gb : tensor<f32>, tensor<f32>) outs(%nb_e : tensor<f32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %x = arith.mulf %rate, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<f32>
  return %na, %nb : tensor<4x3xf32>, tensor<f32>
}
func.func @reduce(%rate: f32 {stepforge.role = "hyperparameter", stepforge.name = "/rate"},
                  %ga: tensor<4x3xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                  %gb: tensor<f32> {stepforge.role = "gradient", stepforge.name = "/b"})
    -> tensor<1xf32> {
  %square = arith.mulf %gb, %gb : tensor<f32>
  %t = tensor.expand_shape %square [] output_shape [1] : tensor<f32> into tensor<1xf32>
  return %t : tensor<1xf32>
}
