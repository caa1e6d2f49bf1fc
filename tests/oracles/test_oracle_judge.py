"""The bars, held against a float32 program that must pass them and errors that must not."""

import math

import numpy as np
import pytest

from oracles import bars, comparator, inputs, judge
from oracles.settings import OPTIMIZERS, Cosine, settings_for

VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "weight_decay": {"weight_decay": 0.05},
    "clip": {"clip_step_by_value": 1e-3},
    "clip_nan": {"clip_nan": True},
    "backoff": {"backoff_steps": 3},
    "cosine": {"cosine": Cosine(period=100, warm_up=5, minimum=1e-5)},
}


def compare(settings, drawn: inputs.State, t: int, **changed) -> list[judge.Measure]:
    twin = comparator.step(settings, drawn.state["parameter"], drawn.gradient, drawn.state, t)
    after = {"parameter": twin.parameter, **twin.slots, **changed}
    assert not judge.kind_mismatches(settings, drawn.state, drawn.gradient, after, t)
    return judge.judge(settings, drawn.state, drawn.gradient, after, t, "cpu")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float32_numpy_is_within_the_cpu_bars(optimizer, variant) -> None:
    settings = settings_for(optimizer, **VARIANTS[variant])
    for t in inputs.STEPS:
        drawn = inputs.random_state(settings, 256, seed=t % 1009)
        measures = compare(settings, drawn, t)
        assert [m.quantity for m in measures] == [*settings.slots, "step", "parameter"]
        assert not [str(m) for m in measures if m.used > 1.0], t


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_edges_are_within_the_cpu_bars(optimizer) -> None:
    settings = settings_for(optimizer)
    for t in (1, 1_000):
        drawn = inputs.edge_state(settings)
        assert not [str(m) for m in compare(settings, drawn, t) if m.used > 1.0], t


@pytest.mark.parametrize("quantity", ["m", "v", "parameter"])
def test_flushed_denormals_are_allowed(quantity: str) -> None:
    settings = settings_for("adam")
    drawn = inputs.random_state(settings, 64, seed=1)
    tiny = {name: values * np.float32(1e-38) for name, values in drawn.state.items()}
    state = inputs.State(state=tiny, gradient=drawn.gradient * np.float32(1e-38))
    twin = comparator.step(settings, tiny["parameter"], state.gradient, tiny, 2)
    values = {"parameter": twin.parameter, **twin.slots}[quantity]
    flushed = np.where(np.abs(values) < bars.TINY, np.float32(0.0), values)
    measures = compare(settings, state, 2, **{quantity: flushed})
    assert not [str(m) for m in measures if m.used > 1.0]


@pytest.mark.parametrize(
    ("quantity", "factor"), [("m", 1 + 2e-6), ("v", 1 + 2e-6), ("parameter", 1 + 2e-6)]
)
def test_a_small_error_is_seen(quantity: str, factor: float) -> None:
    settings = settings_for("adam")
    drawn = inputs.random_state(settings, 64, seed=1)
    twin = comparator.step(settings, drawn.state["parameter"], drawn.gradient, drawn.state, 3)
    values = {"parameter": twin.parameter, **twin.slots}[quantity] * np.float32(factor)
    worst = max(compare(settings, drawn, 3, **{quantity: values}), key=lambda m: m.used)
    assert worst.used > 1.0
    assert worst.ulp > 2.0


def test_nan_is_outside_every_bar() -> None:
    settings = settings_for("sgd")
    drawn = inputs.random_state(settings, 64, seed=1)
    broken = np.full(64, np.nan, np.float32)
    twin = {"parameter": broken}
    measures = judge.judge(settings, drawn.state, drawn.gradient, twin, 1, "vulkan")
    assert all(math.isinf(m.used) for m in measures)


def test_ulp_error_is_relative_to_the_exact_value() -> None:
    assert judge.ulp_error(1.0 + 2.0**-23, 1.0) == 1.0
    assert judge.ulp_error([0.0, 2.0], [0.0, 1.0]).tolist() == [0.0, 2.0**23]
    assert judge.ulp_error(2.0**-130, 0.0, slack=bars.TINY) == 0.0
    assert judge.ulp_error(1e-30, 0.0) == math.inf
    assert judge.ulp_error(math.nan, 1.0) == math.inf
    assert judge.ulp_error(math.inf, math.inf) == 0.0


def test_published_bars() -> None:
    """The table of the numerics contract: first moment, second moment and update."""
    table: dict[bars.Backend, tuple[float, float, float]] = {
        "cpu": (1.5, 2.0, 6.0),
        "cuda": (1.5, 2.0, 7.0),
        "vulkan": (3.0, 4.0, 16.0),
    }
    for backend, figures in table.items():
        rows = (bars.MOMENT1, bars.MOMENT2, bars.DIRECTION["adam"])
        assert tuple(row[backend].ulp for row in rows) == figures
    assert bars.DIRECTION["sgd"]["cpu"].ulp <= 2
    assert bars.DIRECTION["rmsprop"]["cpu"].ulp <= 5
    assert bars.DIRECTION["adamax"]["cpu"].ulp <= 4


def test_storage_interval_holds_the_rounded_result() -> None:
    exact = np.array([1.0 + 2.0**-11, 1.0, 70_000.0])
    low, high = judge.storage_interval(exact, 1e-7 * exact, np.dtype(np.float16))
    assert low.tolist() == [1.0, 1.0, math.inf]
    assert high.tolist() == [1.0 + 2.0**-10, 1.0, math.inf]
