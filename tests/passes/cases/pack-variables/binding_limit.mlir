// RUN: pack-variables backend=vulkan
// EXECUTE: no
// Devices promise bindings of 128 MiB: an arena of two of these, and one alone.
// CHECK: names = ["/a", "/b"], size = 33554432
// CHECK-NOT: "/c"]
func.func @step(%a: tensor<16777216xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %b: tensor<16777216xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index},
                %c: tensor<16777216xf32> {stepforge.role = "parameter", stepforge.name = "/c", stepforge.result = 2 : index},
                %ga: tensor<16777216xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                %gb: tensor<16777216xf32> {stepforge.role = "gradient", stepforge.name = "/b"},
                %gc: tensor<16777216xf32> {stepforge.role = "gradient", stepforge.name = "/c"},
                %rate: f32 {stepforge.role = "hyperparameter", stepforge.name = "/rate"})
    -> (tensor<16777216xf32>, tensor<16777216xf32>, tensor<16777216xf32>) {
  %na_e = tensor.empty() : tensor<16777216xf32>
  %na = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%a, %ga : tensor<16777216xf32>, tensor<16777216xf32>) outs(%na_e : tensor<16777216xf32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %x = arith.mulf %rate, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<16777216xf32>
  %nb_e = tensor.empty() : tensor<16777216xf32>
  %nb = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%b, %gb : tensor<16777216xf32>, tensor<16777216xf32>) outs(%nb_e : tensor<16777216xf32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %x = arith.mulf %rate, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<16777216xf32>
  %nc_e = tensor.empty() : tensor<16777216xf32>
  %nc = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%c, %gc : tensor<16777216xf32>, tensor<16777216xf32>) outs(%nc_e : tensor<16777216xf32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %x = arith.mulf %rate, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<16777216xf32>
  return %na, %nb, %nc : tensor<16777216xf32>, tensor<16777216xf32>, tensor<16777216xf32>
}
