"""R12: gradients at the ends of what their dtype can hold, for every optimizer, on every backend.

What each does is in `outcome`: the sign and the size of the first change, or that it is not
finite. A gradient of zero is never NaN, in any dtype. Adam and its kin divide a gradient by its
own size, so the first change is about the rate whatever the scale, until the square underflows
(then epsilon rules, and the change is smaller) or overflows (then the quotient is 0, and the
change too).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest

from stepforge.frontend import KNOWN_OPTIMIZERS, Context, compile_optimizer
from stepforge.frontend.build.artifact import Artifact

pytestmark = pytest.mark.compiler

SIZE = 67
RATE = 0.125
DTYPES: Mapping[str, Any] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float64": np.dtype(np.float64),
}
# What a backend takes: the portable profile of GPUs has neither 16-bit elements nor float64.
PLACES: Mapping[str, tuple[str, ...]] = {
    "cpu": ("float32", "float16", "bfloat16", "float64"),
    "vmvx": ("float32",),
    "vulkan": ("float32",),
}
ROWS: list[Any] = [
    pytest.param(target, dtype, marks=[pytest.mark.vulkan] if target == "vulkan" else [])
    for target, dtypes in PLACES.items()
    for dtype in dtypes
]
EXTREMES: Mapping[str, tuple[float, ...]] = {
    "float32": (0.0, -0.0, 1e-45, 1e-40, 1e-38, 1e-20, 1e19, 3.4e38),
    "bfloat16": (0.0, -0.0, 1e-40, 1e-38, 1e-20, 1e19, 3.38e38),
    "float16": (0.0, -0.0, 6e-8, 6e-5, 255.9, 65504.0),
    "float64": (0.0, -0.0, 5e-324, 1e-308, 1e-160, 1e160, 1.7e308),
}


@cache
def artifact(name: str, target: str, dtype: str) -> Artifact:
    context = Context()
    context.set_params({"weight_decay": 0.0} if name in ("adam", "adamw", "adamax") else {})
    optimizer = KNOWN_OPTIMIZERS[name](context)
    return compile_optimizer(
        optimizer,
        {"w": ((SIZE,), dtype)},
        target=target,
        context=context,
        # The arithmetic's dtype: past its range a gradient is infinite, whatever holds it.
        loss_dtype="float64" if dtype == "float64" else "float32",
    )


def first_change(name: str, target: str, dtype: str, value: float, steps: int = 1) -> Any:
    """What the parameter, of zeros, is after steps with one gradient; float64, and the step."""
    with artifact(name, target, dtype).load() as step:
        step.initialize({"w": np.zeros(SIZE, DTYPES[dtype])})
        step.learning_rate = RATE
        kind = step.gradients["w"].dtype
        with np.errstate(over="ignore", under="ignore"):
            given = np.full(SIZE, value).astype(kind)
        for _ in range(steps):
            step.step({"w": given})
        state = [v for p, v in step.snapshot().values.items() if v.dtype.kind not in "iub"]
        changed = step.parameters["w"].astype(np.float64)
        assert step.global_step == steps
        return changed, state


@pytest.mark.parametrize(("target", "dtype"), ROWS)
@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_a_zero_gradient_changes_nothing(name: str, target: str, dtype: str) -> None:
    for value in (0.0, -0.0):
        for steps in (1, 3):
            changed, state = first_change(name, target, dtype, value, steps)
            assert (changed == 0).all()
            assert all(np.isfinite(x.astype(np.float64)).all() for x in state)


def outcome(name: str, dtype: str, value: float) -> tuple[float, float]:
    """The least and the largest size that the first change may have. inf: it may overflow.

    Squares and products are of the arithmetic's dtype, float32 unless the parameter is float64.
    """
    wide = dtype == "float64"
    high = float(np.finfo(np.float64 if wide else np.float32).max)
    if name == "sgd":
        # At most the rate times the gradient, rounded; stored in the parameter's own dtype.
        limit = float(ml_dtypes.finfo(DTYPES[dtype]).max)
        size = RATE * abs(value)
        return (0.0, size * 1.01 if size < limit else np.inf)
    if name == "adamax" or value * value < high / 2:
        # Divided by its own size, or by more where that is below epsilon.
        return (0.0, RATE * (4.0 if name == "rmsprop" else 1.01))
    return (0.0, 0.0)  # the square is infinite, and the quotient 0


@pytest.mark.parametrize(("target", "dtype"), ROWS)
@pytest.mark.parametrize("name", KNOWN_OPTIMIZERS)
def test_extremes_have_the_outcome_that_is_documented(name: str, target: str, dtype: str) -> None:
    for value in EXTREMES[dtype]:
        for sign in (1.0, -1.0):
            changed, _ = first_change(name, target, dtype, sign * value)
            least, most = outcome(name, dtype, value)
            assert not np.isnan(changed).any(), value
            assert len(np.unique(changed)) == 1, value  # the same in every lane
            assert least <= abs(changed[0]) <= most, (value, changed[0])
            assert changed[0] == 0 or np.sign(changed[0]) == -sign, value


@pytest.mark.parametrize("name", ["adamw", "rmsprop", "adamax"])
def test_ordinary_gradients_move_by_the_rate(name: str) -> None:
    """The bounds above are not vacuous: an ordinary gradient moves by about the rate."""
    changed, _ = first_change(name, "cpu", "float32", 1.0)
    assert 0.9 * RATE <= abs(changed[0]) <= outcome(name, "float32", 1.0)[1]


@pytest.mark.parametrize(("target", "dtype"), [row for row in ROWS if row.values[1] == "float32"])
@pytest.mark.parametrize("skips", [False, True])
def test_a_norm_that_overflows(target: str, dtype: str, skips: bool) -> None:
    """Finite gradients whose norm is not: skipped, or a step of gradients that are all 0."""
    context = Context()
    context.set_params({"clip_global_norm": 1.0, "skip_nonfinite": skips})
    optimizer = KNOWN_OPTIMIZERS["adam"](context)
    made = compile_optimizer(optimizer, {"w": ((SIZE,), dtype)}, target=target, context=context)
    with made.load() as step:
        step.initialize({"w": np.zeros(SIZE, np.float32)})
        step.step({"w": np.full(SIZE, 3e38, np.float32)})
        assert (step.parameters["w"] == 0).all()
        assert all(np.isfinite(v).all() for v in step.snapshot().values.values())
        assert step.global_step == (0 if skips else 1)
