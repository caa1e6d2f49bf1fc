"""Counts of non-finite elements at sizes where a reduction in one loop goes wrong."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stepforge.passes import compile_module
from stepforge.passes.split_reductions import MAX_TERMS, choose_split
from stepforge.runtime.executor import Module

pytestmark = pytest.mark.compiler

LOGICAL = Path(__file__).parent / "logical" / "adam_clip_nan.mlir"
VULKAN = pytest.mark.vulkan
CASES = [
    (16_384, "cpu", 2),
    (16_385, "cpu", 3),
    (65_537, "cpu", 4),
    (1_000_003, "cpu", 4),
    (65_537, "vmvx", 4),
    pytest.param(65_535, "vulkan", 3, marks=VULKAN),
    pytest.param(65_536, "vulkan:llvmpipe", 3, marks=VULKAN),
    pytest.param(1_000_003, "vulkan", 4, marks=VULKAN),
    pytest.param(1_000_003, "vulkan:llvmpipe", 4, marks=VULKAN),
    pytest.param(11_720_448, "cpu", 3, marks=pytest.mark.slow),
    pytest.param(11_720_448, "vulkan", 3, marks=[VULKAN, pytest.mark.slow]),
    pytest.param(11_720_448, "vulkan:llvmpipe", 3, marks=[VULKAN, pytest.mark.slow]),
]


def clip_nan(size: int) -> str:
    text = LOGICAL.read_text(encoding="utf-8")
    return text.replace("64x32x", f"{size}x").replace("dimensions = [0, 1]", "dimensions = [0]")


@pytest.mark.parametrize(("size", "target", "dispatches"), CASES)
def test_one_bad_element_is_counted_wherever_it_is(size: int, target: str, dispatches: int) -> None:
    compiled = compile_module(clip_nan(size), target)
    step = compiled.statistics["step"]
    assert (step.dispatches, step.copies, step.late_reads) == (dispatches, 0, 0)
    assert step.submissions == 1
    assert step.transient_bytes is not None
    assert step.transient_bytes <= 4 * MAX_TERMS, "the gradient was copied"
    module = Module(compiled.vmfb, "vulkan" if target.startswith("vulkan") else "local-sync")
    gradient = np.random.default_rng(0).standard_normal(size).astype(np.float32)
    ones, zeros = np.ones(size, np.float32), np.zeros(size, np.float32)
    for place, bad in ((None, 0.0), (0, np.nan), (size // 2, np.inf), (size - 1, -np.inf)):
        bent = gradient.copy()
        if place is not None:
            bent[place] = bad
        p, m, _, count, _ = module.call("step", [ones, zeros, zeros, bent, 0.1, 0])
        assert int(count) == (place is not None)
        assert np.isfinite(p).all()
        assert bool(np.any(m)) == (place is None), "a bad gradient counts as zero"


@given(st.integers(MAX_TERMS + 1, 2**40))
def test_a_split_covers_every_term_with_short_loops(count: int) -> None:
    split = choose_split(count)
    assert split.rows * split.columns + split.rest == count
    assert 1 < split.rows < count
    assert 0 < split.columns <= MAX_TERMS
    assert 0 <= split.rest < MAX_TERMS


@given(st.integers(65, 200), st.integers(260, 400))
def test_a_count_with_a_divisor_leaves_no_rest(a: int, b: int) -> None:
    assert choose_split(a * b).rest == 0
