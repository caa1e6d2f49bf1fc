// RUN: pack-sums
// EXECUTE: no
// Two sums over the parts that one loop reads: each is merged.
// CHECK-NOT: tensor.extract_slice
// CHECK: arith.mulf
// CHECK: math.absf
// CHECK-NOT: linalg.reduce
func.func @norms(%g: tensor<32xf32> {stepforge.members = {align = 16 : index, names = ["/a", "/b"], size = 32 : index}, stepforge.name = "@arena0", stepforge.role = "gradient"}) -> tensor<f32> {
  %a = tensor.extract_slice %g[0] [12] [1] : tensor<32xf32> to tensor<12xf32>
  %b = tensor.extract_slice %g[16] [5] [1] : tensor<32xf32> to tensor<5xf32>
  %zero = arith.constant 0.0 : f32
  %e0 = tensor.empty() : tensor<f32>
  %init = linalg.fill ins(%zero : f32) outs(%e0 : tensor<f32>) -> tensor<f32>
  %eaq = tensor.empty() : tensor<12xf32>
  %taq = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%a : tensor<12xf32>) outs(%eaq : tensor<12xf32>) {
  ^bb0(%x: f32, %o: f32):
    %y = arith.mulf %x, %x : f32
    linalg.yield %y : f32
  } -> tensor<12xf32>
  %saq = linalg.reduce { arith.addf } ins(%taq : tensor<12xf32>) outs(%init : tensor<f32>) dimensions = [0]
  %eam = tensor.empty() : tensor<12xf32>
  %tam = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%a : tensor<12xf32>) outs(%eam : tensor<12xf32>) {
  ^bb0(%x: f32, %o: f32):
    %y = math.absf %x : f32
    linalg.yield %y : f32
  } -> tensor<12xf32>
  %sam = linalg.reduce { arith.addf } ins(%tam : tensor<12xf32>) outs(%init : tensor<f32>) dimensions = [0]
  %ebq = tensor.empty() : tensor<5xf32>
  %tbq = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%b : tensor<5xf32>) outs(%ebq : tensor<5xf32>) {
  ^bb0(%x: f32, %o: f32):
    %y = arith.mulf %x, %x : f32
    linalg.yield %y : f32
  } -> tensor<5xf32>
  %sbq = linalg.reduce { arith.addf } ins(%tbq : tensor<5xf32>) outs(%init : tensor<f32>) dimensions = [0]
  %ebm = tensor.empty() : tensor<5xf32>
  %tbm = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%b : tensor<5xf32>) outs(%ebm : tensor<5xf32>) {
  ^bb0(%x: f32, %o: f32):
    %y = math.absf %x : f32
    linalg.yield %y : f32
  } -> tensor<5xf32>
  %sbm = linalg.reduce { arith.addf } ins(%tbm : tensor<5xf32>) outs(%init : tensor<f32>) dimensions = [0]
  %r = linalg.generic {indexing_maps = [affine_map<() -> ()>, affine_map<() -> ()>, affine_map<() -> ()>, affine_map<() -> ()>, affine_map<() -> ()>], iterator_types = []}
      ins(%saq, %sbq, %sam, %sbm : tensor<f32>, tensor<f32>, tensor<f32>, tensor<f32>) outs(%e0 : tensor<f32>) {
  ^bb0(%p: f32, %q: f32, %u: f32, %v: f32, %o: f32):
    %s = arith.addf %p, %q : f32
    %w = arith.addf %u, %v : f32
    %n = arith.divf %s, %w : f32
    linalg.yield %n : f32
  } -> tensor<f32>
  return %r : tensor<f32>
}
