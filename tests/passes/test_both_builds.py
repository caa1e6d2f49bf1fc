"""In place and apart, the two builds of one module give the same bits."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.passes import bindings, compile_both
from stepforge.passes.plain_build import without_aliases
from stepforge.runtime.executor import Module
from support.adamw_module import adamw, state

pytestmark = pytest.mark.compiler

SHAPES = ((64, 32), (333,), (5, 1, 3))


@pytest.mark.parametrize(
    ("target", "device"),
    [
        ("cpu", "local-sync"),
        ("cpu:x86_64", "local-task"),
        ("vmvx", "local-sync"),
        pytest.param("vulkan", "vulkan", marks=pytest.mark.vulkan),
        pytest.param("vulkan:llvmpipe", "vulkan", marks=pytest.mark.vulkan),
        pytest.param("cuda", "cuda", marks=pytest.mark.cuda),
    ],
)
def test_two_steps_agree_bit_for_bit_and_one_is_in_place(target: str, device: str) -> None:
    pair = compile_both(adamw(SHAPES), target, layout="separate")
    in_place, plain = Module(pair.in_place.vmfb, device), Module(pair.plain.vmfb, device)
    arrays = state(SHAPES)
    tensors = [in_place.upload(array) for array in arrays]
    for step in range(2):
        results = plain.call("step", [*arrays, 0.01, step])
        again = in_place.call("step", [*tensors, 0.01, step])
        assert results[-1] == again[-1] == step + 1
        for index, (apart, same) in enumerate(zip(results[:-1], again[:-1], strict=True)):
            kept = in_place.memory.read(tensors[index])
            assert np.asarray(apart).tobytes() == np.asarray(same).tobytes() == kept.tobytes()
        arrays[: 3 * len(SHAPES)] = [np.asarray(result) for result in results[:-1]]


ALIASED = """
func.func @f(%a: tensor<4xf32> {iree.abi.output = 0 : index, stepforge.other = 1 : index})
    -> tensor<4xf32> {
  return %a : tensor<4xf32>
}
util.func public @g(%view: !hal.buffer_view, %wait: !hal.fence) -> !hal.buffer_view attributes {
    iree.reflection = {d = "(%x: tensor<4xf32> {iree.abi.output = 0 : index})"}} {
  %a = hal.tensor.import wait(%wait) => consume %view : !hal.buffer_view -> tensor<4xf32>
  %b = arith.addf %a, %a : tensor<4xf32>
  %c = hal.tensor.alias wait(%wait) => %b : tensor<4xf32> to %view : !hal.buffer_view
  %d = hal.tensor.export %c : tensor<4xf32> -> !hal.buffer_view
  util.return %d : !hal.buffer_view
}
"""


def test_the_twin_lacks_the_aliases_and_nothing_else() -> None:
    module = bindings.parse(ALIASED)
    twin = str(without_aliases(module))
    assert "iree.abi.output" not in twin
    assert "hal.tensor.alias" not in twin
    assert "consume" not in twin
    assert "other = 1 : index" in twin
    assert twin.count("arith.addf") == 1
    assert "hal.tensor.alias" in str(module)
