// RUN: pack-variables
// EXECUTE: no
// One arena and one loop for each set of equal settings; an arena stands where its first variable
// stood.
// CHECK: names = ["/a", "/c"]
// CHECK-SAME: stepforge.name = "@arena0", stepforge.result = 0 : index
// CHECK-SAME: names = ["/b", "/d"]
// CHECK-SAME: stepforge.name = "@arena1", stepforge.result = 1 : index
// CHECK-SAME: names = ["/a", "/c"]
// CHECK-SAME: stepforge.role = "gradient"
// CHECK: %[[FIRST:.*]] = linalg.generic
// CHECK: %[[SECOND:.*]] = linalg.generic
// CHECK-NOT: linalg.generic
// CHECK: return %[[FIRST]], %[[SECOND]] : tensor<32xf32>, tensor<32xf32>
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %b: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index},
                %c: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/c", stepforge.result = 2 : index},
                %d: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/d", stepforge.result = 3 : index},
                %ga: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/a"},
                %gb: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/b"},
                %gc: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/c"},
                %gd: tensor<8xf32> {stepforge.role = "gradient", stepforge.name = "/d"},
                %rate: f32 {stepforge.role = "hyperparameter", stepforge.name = "/rate"})
    -> (tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>) {
  %na_e = tensor.empty() : tensor<8xf32>
  %na = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%a, %ga : tensor<8xf32>, tensor<8xf32>) outs(%na_e : tensor<8xf32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %x = arith.mulf %rate, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<8xf32>
  %nb_e = tensor.empty() : tensor<8xf32>
  %nb = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%b, %gb : tensor<8xf32>, tensor<8xf32>) outs(%nb_e : tensor<8xf32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %half = arith.constant 0.5 : f32
    %x = arith.mulf %half, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<8xf32>
  %nc_e = tensor.empty() : tensor<8xf32>
  %nc = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%c, %gc : tensor<8xf32>, tensor<8xf32>) outs(%nc_e : tensor<8xf32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %x = arith.mulf %rate, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<8xf32>
  %nd_e = tensor.empty() : tensor<8xf32>
  %nd = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%d, %gd : tensor<8xf32>, tensor<8xf32>) outs(%nd_e : tensor<8xf32>) {
  ^bb0(%i0: f32, %i1: f32, %o: f32):
    %half = arith.constant 0.5 : f32
    %x = arith.mulf %half, %i1 : f32
    %y = arith.subf %i0, %x : f32
    linalg.yield %y : f32
  } -> tensor<8xf32>
  return %na, %nb, %nc, %nd : tensor<8xf32>, tensor<8xf32>, tensor<8xf32>, tensor<8xf32>
}
