"""Artifacts of any length: what is compiled, and what is refused before anything is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import AdamW, Context, Settable, bfloat16, compile_optimizer
from stepforge.frontend.any_length import trace_any_length
from stepforge.frontend.build import in_place_check
from stepforge.frontend.build.artifact import Artifact
from stepforge.frontend.emit import emit
from stepforge.frontend.errors import (
    FrontendError,
    InPlaceCheckError,
    OptimizerError,
    ParameterError,
)
from stepforge.passes.compile import compile_module, stream_statistics
from stepforge.runtime.executor import Module

pytestmark = pytest.mark.compiler

SETTINGS: Mapping[str, dict[str, Any]] = {
    "plain": {},
    "settable": {"adam_weight_decay": Settable(0.1), "adam_epsilon": Settable(1e-6)},
    "all": {"clip_step_by_value": 0.5, "loss_scale": 4.0, "ema_decay": 0.99},
    "bfloat16 slots": {"slot_dtype": "bfloat16", "stochastic_rounding": True},
    "float64": {"adam_dtype": "float64"},
}
TARGETS = ("cpu", "vulkan:llvmpipe", "vmvx", "cuda")


def context(params: Mapping[str, Any]) -> Context:
    ctx = Context()
    ctx.set_params(params)
    return ctx


@pytest.fixture(scope="module")
def made() -> Artifact:
    return compile_optimizer(AdamW(), any_length=True)


# VMVX cannot truncate float64, and refuses it with or without a length.
CASES = [(n, t) for n in SETTINGS for t in TARGETS if (n, t) != ("float64", "vmvx")]


@pytest.mark.parametrize(("name", "target"), CASES)
def test_a_step_is_one_dispatch_in_place(name: str, target: str) -> None:
    program = trace_any_length(AdamW(), context(SETTINGS[name]))
    found = stream_statistics(emit(program), target)["step"]
    assert (found.dispatches, found.copies, found.fills) == (1, 0, 0)
    assert (found.allocations, found.late_reads, found.waits) == (0, 0, 0)


def test_the_manifest_is_a_pattern(made: Artifact) -> None:
    manifest = made.manifest
    assert manifest.length == "any"
    device = [v for v in manifest.variables if v.storage == "device"]
    assert [(v.name, v.shape) for v in device] == [
        ("/*", (0,)),
        ("/AdamOptimizer/*_1st_moment", (0,)),
        ("/AdamOptimizer/*_2nd_moment", (0,)),
    ]
    assert [(a.kind, a.align, a.variables) for a in manifest.arenas] == [
        ("state", 16, ("/*",)),
        ("state", 16, ("/AdamOptimizer/*_1st_moment",)),
        ("state", 16, ("/AdamOptimizer/*_2nd_moment",)),
        ("gradient", 16, ("/*",)),
    ]
    assert made.manifest.facts[0][1].endswith("28 bytes read and written for each element")
    assert made.statistics.imports_allocation is False


def test_a_call_takes_what_one_binding_holds() -> None:
    params = context({"slot_dtype": "bfloat16"})
    arenas = compile_optimizer(
        AdamW(), any_length=True, target="vulkan:adreno", context=params
    ).manifest.arenas
    assert {(a.align, a.size) for a in arenas} == {(32, 2**27 // 4)}
    assert {a.dtype for a in arenas} == {"float32", "bfloat16"}


def test_the_same_input_gives_the_same_bytes(made: Artifact) -> None:
    assert compile_optimizer(AdamW(), any_length=True).data == made.data


def test_parameters_have_one_dtype(made: Artifact) -> None:
    half = compile_optimizer(AdamW(), any_length=True, dtype=bfloat16)
    assert half.manifest.variables[0].dtype == "bfloat16"
    assert made.manifest.variables[0].dtype == "float32"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "which parameters?"),
        ({"parameters": {}}, "at least one parameter"),
        ({"parameters": {"w": (3,)}, "any_length": True}, "got parameters"),
        ({"updates": {"step": ["w"]}, "any_length": True}, "got updates"),
        ({"after_update": print, "any_length": True}, "got after_update"),
        ({"phases": True, "any_length": True}, "phases=True"),
        ({"shards": 2, "any_length": True}, "shards=2"),
        ({"parameters": {"w": (3,)}, "dtype": "bfloat16"}, "without any_length"),
    ],
)
def test_arguments_that_do_not_go_together_are_refused(
    arguments: dict[str, Any], said: str
) -> None:
    with pytest.raises(ParameterError, match=said.replace("?", r"\?")):
        compile_optimizer(AdamW(), **arguments)


def test_it_updates_in_place_alone() -> None:
    with pytest.raises(FrontendError, match="updates in place"):
        compile_optimizer(AdamW(), any_length=True, update="ping-pong")


def test_a_refusal_leaves_the_context_as_it_was() -> None:
    ctx = context({"clip_global_norm": 1.0})
    with pytest.raises(OptimizerError):
        compile_optimizer(AdamW(), any_length=True, context=ctx)
    assert list(ctx.root) == []


def test_both_builds_are_compared_at_several_lengths(made: Artifact) -> None:
    """A build that goes wrong from some length on alone is found."""
    text = emit(made.program)
    right = Module(compile_module(text, "cpu").vmfb)
    plain = compile_module(text, "cpu", in_place=False).vmfb

    class WrongWhereLong(Module):
        def call(self, *arguments: Any, **options: Any) -> Any:
            found: Any = super().call(*arguments, **options)
            if found[0].shape > (50_000,):
                found[0].array[50_000] += np.float32(1)
            return found

    in_place_check.check_in_place(made.manifest, right, Module(plain))
    with pytest.raises(InPlaceCheckError, match="flat index 50000"):
        in_place_check.check_in_place(made.manifest, right, WrongWhereLong(plain))
