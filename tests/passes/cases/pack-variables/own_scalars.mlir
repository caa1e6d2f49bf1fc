// RUN: pack-variables
// A number of the device that is a variable's own cannot be shared.
// CHECK-NOT: arena
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %b: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index},
                %ga: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                %gb: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/b"},
                %s: tensor<f32> {stepforge.role = "buffer", stepforge.name = "/s"},
                %t: tensor<f32> {stepforge.role = "buffer", stepforge.name = "/t"})
    -> (tensor<8xf32>, tensor<8xf32>) {
  %na_e = tensor.empty() : tensor<8xf32>
  %na = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%a, %ga, %s : tensor<8xf32>, tensor<8xf32>, tensor<f32>) outs(%na_e : tensor<8xf32>) {
  ^bb0(%i0: f32, %i1: f32, %i2: f32, %o: f32):
    %x = arith.mulf %i2, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<8xf32>
  %nb_e = tensor.empty() : tensor<8xf32>
  %nb = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> ()>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%b, %gb, %t : tensor<8xf32>, tensor<8xf32>, tensor<f32>) outs(%nb_e : tensor<8xf32>) {
  ^bb0(%i0: f32, %i1: f32, %i2: f32, %o: f32):
    %x = arith.mulf %i2, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<8xf32>
  return %na, %nb : tensor<8xf32>, tensor<8xf32>
}
