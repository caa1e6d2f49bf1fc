"""What a program says of its scalars is what emission makes of them."""

from __future__ import annotations

from typing import Any

import pytest

from stepforge.frontend.optimizers import AdamW, Optimizer, StochasticGradientDescent
from stepforge.frontend.settable import Settable
from support.programs import program

pytestmark = pytest.mark.compiler
MANY = {"adam_beta1": Settable(0.5), "adam_beta2": Settable(0.5), "adam_dtype": "float64"}


@pytest.mark.parametrize(
    ("optimizer", "params"),
    [
        (AdamW(), {}),
        (AdamW(), {"adam_dtype": "float64"}),
        (AdamW(), {**MANY, "clip_nan": True, "nanlogger": True, "adam_backoff": Settable(3)}),
        (AdamW(), {**MANY, "cosine_schedule_cycles": 3, "cosine_schedule_warmup_steps": 2}),
        (StochasticGradientDescent(), {"cosine_schedule_steps": 5}),
    ],
)
def test_the_table_is_the_one_that_is_emitted(optimizer: Optimizer, params: dict[str, Any]) -> None:
    emission = pytest.importorskip("stepforge.frontend.emit")
    traced = program(optimizer, params)
    (entry,) = traced.entry_points
    text = emission.emit(traced)
    assert "func.func @step(" in text
    table = f"tensor<{len(entry.table)}x{'f64' if params.get('adam_dtype') else 'f32'}>"
    assert (f'{table} {{stepforge.name = "scalars"' in text) == bool(entry.table)
