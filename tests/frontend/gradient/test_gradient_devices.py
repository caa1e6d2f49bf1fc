"""Gradients, compiled in float32, on every backend, against the float64 evaluator.

The tolerance is derived element by element: the error that each operation on the way is allowed,
carried through the graph (`stepforge.tools.bounds`).
"""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.frontend.dtypes import float32
from stepforge.frontend.simplify import simplify
from stepforge.tools.bounds import ACCURACY, evaluate_bounded
from support.backends import BACKENDS, Backend
from support.emitted import compile_entries, function
from support.gradient_cases import COMPILED_CASES

pytestmark = pytest.mark.compiler

ON_EACH = [pytest.param(backend, marks=backend.marks, id=str(backend)) for backend in BACKENDS]


@pytest.mark.parametrize("backend", ON_EACH)
def test_gradients_on_the_device(backend: Backend) -> None:
    """One module per backend with a function for each case."""
    accuracy = ACCURACY["vulkan" if backend.name == "vulkan" else "local"]
    entries = []
    for i, case in enumerate(COMPILED_CASES):
        graphs = case.graphs()
        _, renamed = simplify(graphs.first, graphs.inputs, case.name)
        entries.append(function(f"g{i}", [renamed[x] for x in graphs.first]))
    compiled = compile_entries(entries, backend)
    wrong: dict[str, str] = {}
    for case, entry in zip(COMPILED_CASES, entries, strict=True):
        values = case.values()
        given = [values[x.name].astype(np.float32) for x in entry.arguments]
        got = compiled(entry.name, given, [float32] * len(entry.results))
        exact = evaluate_bounded([x.node for x in entry.results], values, accuracy)
        for x, bounded in zip(got, exact, strict=True):
            if not np.all(np.abs(np.float64(x) - bounded.value) <= bounded.error):
                wrong[case.name] = f"{x.ravel()} for {bounded.value.ravel()} +- {bounded.error}"
    assert not wrong, wrong
