"""What the passes promise of whole steps: in place, in order, and with nothing extra."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepforge.passes import Layout, Pair, bindings, compile_both, compile_module
from stepforge.passes.arguments import RESULT
from stepforge.runtime.buffers import Tensor
from stepforge.runtime.executor import Module
from support.adamw_module import adamw
from support.lowered import Value, random_arguments, run_text

pytestmark = pytest.mark.compiler

FOLDER = Path(__file__).parent
LOGICAL = sorted((FOLDER / "logical").glob("*.mlir"))
HAZARDS = sorted((FOLDER / "hazards").glob("*.mlir"))
STEPS = [
    *(pytest.param(path, "cpu", id=f"{path.stem}-cpu") for path in (*LOGICAL, *HAZARDS)),
    *(pytest.param(path, "vmvx", id=f"{path.stem}-vmvx") for path in LOGICAL),
    *(
        pytest.param(path, "vulkan:llvmpipe", id=f"{path.stem}-vulkan", marks=pytest.mark.vulkan)
        for path in (*LOGICAL, *HAZARDS)
    ),
]


def replaced(text: str) -> dict[int, int]:
    """Argument number -> result number, for the tensors that a step replaces."""
    (function,) = bindings.functions(bindings.parse(text))
    rows = zip(function.type.inputs, bindings.argument_attributes(function), strict=True)
    found = dict[int, int]()
    for number, (type_, attributes) in enumerate(rows):
        result = bindings.integer(attributes.get(RESULT))
        if result is not None and str(type_).startswith("tensor"):
            found[number] = result
    return found


def call(vmfb: bytes, target: str, arguments: list[Value]) -> tuple[list[Any], list[Any]]:
    """The results of one step, and what the arguments hold after it."""
    module = Module(vmfb, "vulkan" if target.startswith("vulkan") else "local-sync")
    given = [module.upload(x) if isinstance(x, np.ndarray) else x for x in arguments]
    results = module.call("step", given)
    held = [module.memory.read(x) if isinstance(x, Tensor) else x for x in given]
    return results, held


def check_pair(pair: Pair, text: str, target: str) -> list[Any]:
    """Both builds agree bit for bit, and each writes where it says; returns the results."""
    arguments = random_arguments(text)["step"]
    in_place, held = call(pair.in_place.vmfb, target, arguments)
    plain, untouched = call(pair.plain.vmfb, target, arguments)
    for a, b in zip(in_place, plain, strict=True):
        np.testing.assert_array_equal(a, b)
    for number, result in replaced(text).items():
        np.testing.assert_array_equal(held[number], in_place[result])
        np.testing.assert_array_equal(untouched[number], arguments[number])
    return in_place


@lru_cache
def reference(text: str) -> list[Any]:
    """What the logical module computes on a CPU, without a pass of ours."""
    return run_text(text, "step", random_arguments(text)["step"])


@pytest.mark.parametrize(("path", "target"), STEPS)
def test_in_place_is_plain_and_what_the_logical_module_says(path: Path, target: str) -> None:
    text = path.read_text(encoding="utf-8")
    pair = compile_both(text, target)
    assert pair.in_place.statistics["step"].late_reads == 0
    found = check_pair(pair, text, target)
    for a, b in zip(found, reference(text), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", ["sgd", "adam"])
def test_a_pointwise_step_is_one_dispatch_and_nothing_else(name: str) -> None:
    text = (FOLDER / "logical" / f"{name}.mlir").read_text(encoding="utf-8")
    statistics = compile_module(text, "cpu").statistics
    step = statistics["step"]
    assert (step.dispatches, step.copies, step.fills, step.transient_bytes) == (1, 0, 0, 0)
    assert not statistics.imports_allocation


def test_a_short_count_adds_one_dispatch_and_its_result() -> None:
    text = (FOLDER / "logical" / "adam_clip_nan.mlir").read_text(encoding="utf-8")
    step = compile_module(text, "cpu").statistics["step"]
    assert (step.dispatches, step.copies, step.transient_bytes) == (2, 0, 4)


SHAPES = ((64, 32), (), (7,), (2, 3, 4, 5), (1,), (64, 32))


@pytest.mark.parametrize(("layout", "dispatches"), [("separate", len(SHAPES)), ("packed", 1)])
def test_many_variables_are_as_many_dispatches_or_one(layout: Layout, dispatches: int) -> None:
    statistics = compile_module(adamw(SHAPES), "cpu", layout=layout).statistics
    step = statistics["step"]
    assert (step.dispatches, step.copies, step.transient_bytes) == (dispatches, 0, 0)
    assert not statistics.imports_allocation


def test_a_variable_of_rank_0_is_updated_in_place() -> None:
    text = adamw([(), (5, 3)])
    check_pair(compile_both(text, "cpu", layout="separate"), text, "cpu")
