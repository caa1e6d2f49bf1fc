"""The table of docs/low-precision.md: what state in fewer bits costs in learning."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

import digits_mlp
import digits_train
from docs import pages
from stepforge.frontend import AdamW, Context, compile_train_step

SETTINGS: Mapping[str, Mapping[str, Any]] = {
    "float32": {},
    "bfloat16": {"slot_dtype": "bfloat16"},
    "bfloat16, drawn": {"slot_dtype": "bfloat16", "stochastic_rounding": True},
    "int8": {"slot_dtype": "int8"},
    "int8, drawn": {"slot_dtype": "int8", "stochastic_rounding": True},
}
INPUTS = {"image": ((64, 8, 8, 1), "float32"), "label": ((64,), "int32")}


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.parametrize("slots", SETTINGS)
def test_the_documented_losses(slots: str) -> None:
    """Within 30 %: seeds alone move the last loss by 20 %."""
    table = {row[0]: row[1:] for row in pages.rows("low-precision.md") if len(row) == 7}
    _, first, fifth, tenth, last, right = (float(cell) for cell in table[slots])
    context = Context()
    context.set_params({"learning_rate": 0.003, **SETTINGS[slots]})
    made = compile_train_step(digits_mlp.loss, AdamW(), inputs=INPUTS, context=context)
    kept, held_out = digits_train.read_digits()
    losses, accuracy = np.zeros(30), 0.0
    with made.load() as step:
        for seed in range(3):
            step.initialize(seed=seed)
            batches = digits_train.shuffled(kept, 64, seed=seed)
            for epoch in range(30):
                found = [float(step.train_step(**batch)["loss"]) for batch in batches(epoch)]
                losses[epoch] += np.mean(found) / 3
            accuracy += digits_train.accuracy(step, held_out) / 3
    expected = np.array([first, fifth, tenth, last])
    np.testing.assert_allclose(losses[[0, 4, 9, 29]], expected, rtol=0.3)
    assert accuracy > right - 0.01
