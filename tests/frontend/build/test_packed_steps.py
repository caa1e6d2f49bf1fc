"""How many dispatches a step is, whatever the number of variables."""

from __future__ import annotations

from typing import Any

import pytest

from stepforge.frontend import AdamW, Context, initializers
from stepforge.frontend.emit import emit
from stepforge.frontend.trace import trace
from stepforge.passes.compile import stream_statistics

pytestmark = pytest.mark.compiler

SETTINGS: dict[str, tuple[dict[str, Any], int]] = {
    "plain": ({}, 1),
    # The terms and their rest are one reduction here; then the factor, and the update.
    "clipped": ({"clip_global_norm": 1.0}, 3),
    # A count, the scalars of the step, the update, the counters.
    "skipping": ({"skip_nonfinite": True}, 4),
    "all": ({"clip_global_norm": 1.0, "skip_nonfinite": True, "ema_decay": 0.99}, 4),
    "two groups": ({"/*.b:adam_weight_decay": 0.0}, 2),
}


@pytest.mark.parametrize("count", [2, 9])
@pytest.mark.parametrize("name", SETTINGS)
def test_variables_add_no_dispatches(name: str, count: int) -> None:
    settings, expected = SETTINGS[name]
    ctx = Context()
    ctx.set_params({key: value for key, value in settings.items() if ":" not in key})
    for key, value in settings.items():
        if ":" in key:
            pattern, _, hyperparameter = key.partition(":")
            ctx.set_params_for(pattern, {hyperparameter: value})
    for index in range(count):
        for part, shape in (("w", (7 + index, 5)), ("b", (5 + index,))):
            ctx.variable(f"layer{index}.{part}", shape, initializer=initializers.required())
    found = stream_statistics(emit(trace(AdamW(), ctx)), "cpu")["step"]
    assert (found.dispatches, found.copies, found.fills) == (expected, 0, 0)
    assert found.buffers <= 10
