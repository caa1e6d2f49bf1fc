// RUN: alias-state
// REFUSED: parameter /a: its new value is made by another argument
// REFUSED: parameter /b: its new value is made by another argument
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %b: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index}) -> (tensor<8xf32>, tensor<8xf32>) {
  return %b, %a : tensor<8xf32>, tensor<8xf32>
}
