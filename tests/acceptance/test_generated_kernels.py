"""What is generated for a GPU, where none is at hand: kernels, roots, vector accesses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from stepforge.frontend import AdamW, Context, compile_optimizer

pytestmark = pytest.mark.compiler

SHAPES = {f"w{i}": ((128, 130), "float32") for i in range(5)}
SELF_TEST = 2
_ACCESS = re.compile(rb"(ld|st)\.global(?:\.nc)?\.(?:(v\d)\.)?b(\d+)")


@dataclass(frozen=True, slots=True)
class Case:
    """AdamW over five tensors, packed. `kernels`: of the step. `scalars`: whether small kernels
    between the loops over tensors read and write single numbers."""

    name: str
    kernels: int
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    widths: frozenset[int] = frozenset({32})
    """Bits of the elements that vectors are made of."""
    scalars: bool = False


CASES = (
    Case("plain", 1),
    Case("bf16 moments", 1, {"slot_dtype": "bfloat16"}, frozenset({16, 32})),
    Case("average", 1, {"ema_decay": 0.999}),
    Case(
        "clip, skip, average",
        5,
        {"clip_global_norm": 1.0, "ema_decay": 0.999, "skip_nonfinite": True},
        scalars=True,
    ),
)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_cuda_kernels_are_few_exact_and_vectorised(case: Case) -> None:
    context = Context()
    context.set_params(dict(case.settings))
    made = compile_optimizer(AdamW(), SHAPES, target="cuda", context=context)
    assert made.statistics["step"].dispatches == case.kernels
    assert made.data.count(b".visible .entry") == case.kernels + SELF_TEST
    assert b".approx" not in made.data
    assert b".ftz" not in made.data
    assert b"sqrt.rn.f32" in made.data
    assert b"div.rn.f32" in made.data
    found = [(kind, vector, int(bits)) for kind, vector, bits in _ACCESS.findall(made.data)]
    wide = {(kind, bits) for kind, vector, bits in found if vector == b"v4"}
    assert wide == {(kind, bits) for kind in (b"ld", b"st") for bits in case.widths}
    # The self-test stores single numbers, and reads none.
    single_loads = [bits for kind, vector, bits in found if kind == b"ld" and not vector]
    assert bool(single_loads) == case.scalars


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_vulkan_has_as_many_dispatches(case: Case) -> None:
    context = Context()
    context.set_params(dict(case.settings))
    target = "vulkan:llvmpipe" if 16 in case.widths else "vulkan"
    made = compile_optimizer(AdamW(), SHAPES, target=target, context=context)
    assert made.statistics["step"].dispatches == case.kernels
