"""float32 ops over wide domains keep what docs/ops-accuracy.md promises."""

from __future__ import annotations

import pytest

from stepforge.frontend.dtypes import float32
from support.accuracy import ACCURACY_CASES, promised
from support.backends import BACKENDS, CPU_BASELINE, Backend
from support.emitted import compile_expanded, function

pytestmark = pytest.mark.compiler


@pytest.mark.parametrize(
    "backend", [*(pytest.param(b, marks=b.marks) for b in BACKENDS), CPU_BASELINE], ids=str
)
def test_errors_stay_below_the_table(backend: Backend) -> None:
    nodes = [case.node() for case in ACCURACY_CASES]
    names = [f"f{i}" for i in range(len(nodes))]
    compiled = compile_expanded(
        [function(name, [node]) for name, node in zip(names, nodes, strict=True)], backend
    )
    bounds, found = promised(), dict[str, float]()
    for name, case in zip(names, ACCURACY_CASES, strict=True):
        inputs = case.inputs()
        (got,) = compiled(name, inputs, [float32])
        found[case.name] = case.worst(got, inputs)
    too_far = {name: x for name, x in found.items() if not x <= backend.promise(bounds, name)}
    assert not too_far, f"{found}"


def test_the_table_has_every_case() -> None:
    assert set(promised()) == {case.name for case in ACCURACY_CASES}
