"""The function that GPU modules carry, so that a device can be asked whether it computes right."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.passes import PassError, bindings, compile_module, parse_target
from stepforge.passes.pass_base import apply
from stepforge.passes.self_test import NAME, SIZE, SelfTest
from stepforge.runtime.executor import Module
from support.adamw_module import adamw

pytestmark = pytest.mark.compiler


def expected(x: np.ndarray) -> tuple[np.ndarray, float]:
    return 2 * x + 1, float(np.sum(2 * x.astype(np.float64) + 1))


@pytest.mark.parametrize(
    ("target", "device"),
    [
        pytest.param("vulkan", "vulkan", marks=pytest.mark.vulkan),
        pytest.param("vulkan:llvmpipe", "vulkan", marks=pytest.mark.vulkan),
        pytest.param("cuda", "cuda", marks=pytest.mark.cuda),
    ],
)
def test_it_is_exact_on_a_right_device(target: str, device: str) -> None:
    module = Module(compile_module(adamw([(64,)]), target).vmfb, device)
    x = (np.arange(SIZE) % 61 - 30).astype(np.float32)
    y, total = module.call(NAME, [x])
    right, right_total = expected(x)
    assert np.array_equal(np.asarray(y), right)
    assert float(np.asarray(total)) == right_total


@pytest.mark.vulkan
def test_it_finds_code_for_another_family_out() -> None:
    """Adreno's code on lavapipe gives no error, and wrong sums."""
    module = Module(compile_module(adamw([(64,)]), "vulkan:adreno").vmfb, "vulkan")
    x = (np.arange(SIZE) % 61 - 30).astype(np.float32)
    y, total = module.call(NAME, [x])
    right, right_total = expected(x)
    same = np.array_equal(np.asarray(y), right) and float(np.asarray(total)) == right_total
    assert not same


def test_the_pass_adds_one_logical_function() -> None:
    module = bindings.parse(adamw([(8,)]))
    apply(SelfTest(), module)
    names = [function.name.value for function in bindings.functions(module)]
    assert names == ["step", NAME]
    text = str(bindings.functions(module)[1])
    assert f"tensor<{SIZE}xf32>" in text
    assert 'stepforge.role = "input"' in text


def test_the_name_is_reserved() -> None:
    module = bindings.parse(f"func.func @{NAME}() {{ return }}")
    with pytest.raises(PassError, match="reserved name"):
        apply(SelfTest(), module)


def test_native_code_carries_none() -> None:
    assert not parse_target("cpu").self_test
    assert NAME not in compile_module(adamw([(8,)]), "vmvx").statistics.functions
