"""A thousand variables: one dispatch, and a small file for every target."""

from __future__ import annotations

import pytest

from stepforge.frontend import AdamW
from stepforge.frontend.build import compile_optimizer
from stepforge.frontend.program_json import program_from_json, program_to_json
from stepforge.runtime.container import read_artifact

PARAMETERS = {f"layer{i}/w": ((7 + i % 13, 11 + i % 5), "float32") for i in range(1000)}

MOST_BYTES = 32 * 1024


@pytest.mark.compiler
@pytest.mark.parametrize(
    "target",
    ["vmvx", *(pytest.param(x, marks=pytest.mark.slow) for x in ("cpu", "vulkan", "cuda"))],
)
def test_a_thousand_variables_make_a_small_artifact(target: str) -> None:
    made = compile_optimizer(AdamW(), PARAMETERS, target=target)
    assert made.statistics["step"].dispatches == 1
    assert len(made.data) <= MOST_BYTES
    text = read_artifact(made.data).graph_json
    assert program_to_json(program_from_json(text)).encode() == text
