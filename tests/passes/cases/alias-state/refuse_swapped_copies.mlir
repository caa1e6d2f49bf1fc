// RUN: alias-state allow_copies=true
// REFUSED: read each other's old values, and no order of their updates keeps them
func.func @step(%a: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/a", stepforge.result = 0 : index},
                %b: tensor<8xf32> {stepforge.role = "parameter", stepforge.name = "/b", stepforge.result = 1 : index}) -> (tensor<8xf32>, tensor<8xf32>) {
  return %b, %a : tensor<8xf32>, tensor<8xf32>
}
