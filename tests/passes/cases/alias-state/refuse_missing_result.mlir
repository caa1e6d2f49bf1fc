// RUN: alias-state
// REFUSED: parameter /a is replaced by result 1, but @step has 1 results
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 1 : index}) -> tensor<8xf32> {
  return %a : tensor<8xf32>
}
