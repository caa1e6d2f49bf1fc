// RUN: pack-variables
// EXECUTE: no
// Three ranges of 16 elements hold what takes two without shards.
// CHECK: func.func @step(%{{.*}}: tensor<48xf32> {stepforge.members = {align = 16 : index, names = ["/a", "/b"], size = 48 : index}
module attributes {stepforge.shards = 3 : i64} {
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
}
