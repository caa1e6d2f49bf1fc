// RUN: pack-variables
// EXECUTE: no
// One that has some of an arena's gradients keeps all functions from packing it.
// CHECK-NOT: @arena
func.func @step(%a: tensor<4x3xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %b: tensor<5xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index},
                %ga: tensor<4x3xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                %gb: tensor<5xf32> {stepforge.role = "gradient", stepforge.name = "/b"},
                %rate: f32 {stepforge.role = "hyperparameter", stepforge.name = "/rate"})
    -> (tensor<4x3xf32>, tensor<5xf32>) {
  %na_e = tensor.empty() : tensor<4x3xf32>
  %na = linalg.generic {indexing_maps = [affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>, affine_map<(d0, d1) -> (d0, d1)>], iterator_types = ["parallel", "parallel"]}
      ins(%a, %ga : tensor<4x3xf32>, tensor<4x3xf32>) outs(%na_e : tensor<4x3xf32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %x = arith.mulf %rate, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<4x3xf32>
  %nb_e = tensor.empty() : tensor<5xf32>
  %nb = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%b, %gb : tensor<5xf32>, tensor<5xf32>) outs(%nb_e : tensor<5xf32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %x = arith.mulf %rate, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<5xf32>
  return %na, %nb : tensor<4x3xf32>, tensor<5xf32>
}
func.func @reduce(%rate: f32 {stepforge.role = "hyperparameter", stepforge.name = "/rate"},
                  %ga: tensor<4x3xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                  %gc: tensor<5xf32> {stepforge.role = "gradient", stepforge.name = "/c"})
    -> tensor<3x4xf32> {
  %t_e = tensor.empty() : tensor<3x4xf32>
  %t = linalg.transpose ins(%ga : tensor<4x3xf32>) outs(%t_e : tensor<3x4xf32>) permutation = [1, 0]
  return %t : tensor<3x4xf32>
}
