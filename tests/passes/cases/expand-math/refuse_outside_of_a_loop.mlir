// RUN: expand-math backend=vulkan
// REFUSED: math.exp at
// REFUSED: is outside of every loop: fuse-step-math goes first
func.func @step(%x: tensor<8xf32>) -> tensor<8xf32> {
  %y = math.exp %x : tensor<8xf32>
  return %y : tensor<8xf32>
}
