"""A whole step with host scalars, as arguments and in a table, on every backend."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from stepforge.frontend import ops
from stepforge.frontend.dtypes import float32
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph
from stepforge.frontend.program import Argument, EntryPoint, Result
from stepforge.frontend.scalars import ScalarProgram
from support.backends import BACKENDS, Backend
from support.emitted import NO_SCALARS, compile_entries

pytestmark = pytest.mark.compiler
SHAPE = (3, 7)
RATE, STEP = 0.25, 8


def momentum() -> EntryPoint:
    """m' = m / 2 + g; w' = w - rate / step * m', from the second step on."""
    graph = Graph()
    w, m, g = (graph.input(name, "float32", SHAPE) for name in ("w", "m", "g"))
    rate, step = graph.input("rate", "float32"), graph.input("step", "int64")
    new_step = step + 1
    new_m = m * 0.5 + g
    scale = ops.where(new_step > 1, rate / ops.cast(new_step, "float32"), 0.0)
    new_w = ops.where(ops.is_finite(new_m), w - scale * new_m, w)
    arguments = (
        Argument("/w", "parameter", w, "device", result=0),
        Argument("/m", "slot", m, "device", result=1),
        Argument("/w", "gradient", g, "device"),
        Argument("/rate", "hyperparameter", rate, "host"),
        Argument("/step", "counter", step, "host", result=3),
    )
    results = (
        Result("/w", "state", new_w),
        Result("/m", "state", new_m),
        Result("norm", "output", ops.sqrt(ops.reduce_sum(g * g))),
        Result("/step", "state", new_step),
    )
    return EntryPoint("step", graph, arguments, results, "arguments", NO_SCALARS)


def in_a_table(entry: EntryPoint) -> EntryPoint:
    (scale,) = (x for x in entry.graph.nodes if x.op == "where" and not x.rank)
    rows = ScalarProgram("float32", (), (0,), ())
    return replace(entry, name="tabled", scalars="table", table=(scale,), scalar_program=rows)


@pytest.mark.parametrize("backend", [pytest.param(b, marks=b.marks, id=b.name) for b in BACKENDS])
def test_a_step_is_the_evaluators(backend: Backend) -> None:
    rng = np.random.default_rng(3)
    w, m, g = (rng.normal(size=SHAPE).astype(np.float32) for _ in range(3))
    m[1, 2], g[2, 6] = np.nan, np.inf
    entry = momentum()
    values = {"w": w, "m": m, "g": g, "rate": np.float32(RATE), "step": np.int64(STEP)}
    expected = evaluate([x.node for x in entry.results], values)
    compiled = compile_entries([entry, in_a_table(entry)], backend)
    tensors = [float32, float32, float32]
    *state, norm, step = compiled("step", [w, m, g, RATE, STEP], [*tensors, None])
    assert step == STEP + 1
    table = np.array([RATE / (STEP + 1)], np.float32)
    assert len(entry.results) == len(tensors) + 1
    for got in ([*state, norm], compiled("tabled", [w, m, g, table], tensors)):
        for value, exact in zip(got, expected[:3], strict=True):
            np.testing.assert_allclose(value, exact, rtol=1e-6, atol=1e-7)
