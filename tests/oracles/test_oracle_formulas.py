"""The float64 formulas agree with the 50-digit twins over the whole range of inputs."""

import ast
import dataclasses
import math
from pathlib import Path

import mpmath
import numpy as np
import pytest

from oracles import exact, formulas, inputs
from oracles.schedule import Exact, base_rate, cycle_fraction, exact_base_rate
from oracles.settings import OPTIMIZERS, Cosine, Settings, settings_for

NEGLIGIBLE = 3e-13
"""What float64 may lose: 3 millionths of a float32 ULP."""

VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "weight_decay": {"weight_decay": 0.05},
    "clip": {"clip_step_by_value": 1e-3},
    "backoff": {"backoff_steps": 3},
    "no_root": {"decay": False},
    "betas": {"beta1": 0.5, "beta2": 0.9999, "epsilon": 1e-4},
    "cosine": {"cosine": Cosine(period=7, warm_up=3, minimum=1e-4)},
}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_float64_is_exact_enough_to_measure_float32_by(optimizer, variant) -> None:
    settings = settings_for(optimizer, **VARIANTS[variant])
    for t in inputs.STEPS:
        drawn = inputs.random_state(settings, 16, seed=t)
        p = drawn.state["parameter"].astype(np.float64)
        update = formulas.step(settings, p, drawn.gradient, drawn.state, t)
        scales = {"m": update.moment_scale, "v": np.abs(update.slots.get("v", p))}
        through = abs(update.rate) * update.moment_scale / update.denominator
        step_scale = through + np.abs(update.decay)
        for i in range(p.size):
            slots = {name: drawn.state[name][i] for name in settings.slots}
            twin = exact.step(settings, p[i], drawn.gradient[i], slots, t)
            for name in settings.slots:
                close(update.slots[name][i], twin.slots[name], scales[name][i])
            close(update.step[i], twin.step, step_scale[i])
            close(update.parameter[i], twin.parameter, step_scale[i] + abs(p[i]))


def close(actual: float, expected: Exact, scale: float) -> None:
    with mpmath.workdps(50):
        error = abs(mpmath.mpf(float(actual)) - expected)
        assert error <= NEGLIGIBLE * mpmath.mpf(float(scale)), (actual, expected)


@pytest.mark.parametrize("beta", [0.5, 0.9, 0.999, 0.9999])
@pytest.mark.parametrize("t", inputs.STEPS)
def test_bias_correction_does_not_cancel(beta: float, t: int) -> None:
    with mpmath.workdps(50):
        expected = 1 - mpmath.mpf(repr(beta)) ** t
        assert abs(formulas.bias_correction(beta, t) / expected - 1) < NEGLIGIBLE


@pytest.mark.parametrize(
    "cosine",
    [
        Cosine(period=100),
        Cosine(period=100, warm_up=10, minimum=1e-5),
        Cosine(cycles=3, last_step=1_000, warm_up=10),
        Cosine(cycles=2, last_step=-1),
    ],
    ids=str,
)
def test_schedule_agrees_with_its_twin(cosine: Cosine) -> None:
    settings = settings_for("adam", cosine=cosine)
    for t in (*range(1, 320), 10**6, 2**31, 2**53 + 1):
        difference = abs(base_rate(settings, t) - exact_base_rate(settings, t))
        assert difference <= 1e-15 * settings.learning_rate, t


def test_schedule_has_the_shape_of_the_seed() -> None:
    settings = settings_for("adam", learning_rate=1.0, cosine=Cosine(period=100, warm_up=10))
    assert base_rate(settings, 1) == 0.0
    assert base_rate(settings, 6) == 0.5
    assert base_rate(settings, 11) == 1.0
    assert base_rate(settings, 61) == pytest.approx(0.5)
    assert base_rate(settings, 110) == pytest.approx((1 + math.cos(0.99 * math.pi)) / 2)
    assert base_rate(settings, 111) == 1.0
    assert cycle_fraction(Cosine(cycles=3, last_step=100), 34) == (99, 100)


def test_a_schedule_takes_a_period_or_cycles() -> None:
    with pytest.raises(ValueError, match="not both"):
        Cosine(period=10, cycles=2)
    with pytest.raises(ValueError, match="not both"):
        Cosine()


def test_backoff_moves_the_slots_and_not_the_parameters() -> None:
    settings = settings_for("adamw", backoff_steps=3)
    drawn = inputs.random_state(settings, 8, seed=1)
    held = formulas.step(settings, drawn.state["parameter"], drawn.gradient, drawn.state, 3)
    assert (held.parameter == drawn.state["parameter"]).all()
    assert (held.slots["m"] != drawn.state["m"]).any()
    moved = formulas.step(settings, drawn.state["parameter"], drawn.gradient, drawn.state, 4)
    assert (moved.parameter != drawn.state["parameter"]).any()


def storm_case(optimizer) -> tuple[Settings, inputs.State, np.ndarray]:
    settings = settings_for(optimizer, clip_nan=True)
    drawn = inputs.random_state(settings, 8, seed=2)
    return settings, drawn, inputs.storm(drawn.gradient, 3, values=(math.nan, math.inf))


@pytest.mark.parametrize("optimizer", [name for name in OPTIMIZERS if name != "sgd"])
def test_one_nonfinite_value_zeroes_the_tensor(optimizer) -> None:
    settings, drawn, stormy = storm_case(optimizer)
    update = formulas.step(settings, drawn.state["parameter"], stormy, drawn.state, 5)
    calm = formulas.step(
        dataclasses.replace(settings, clip_nan=False),
        drawn.state["parameter"],
        np.zeros_like(stormy),
        drawn.state,
        5,
    )
    assert (update.parameter == calm.parameter).all()
    assert (update.slots["v"] == calm.slots["v"]).all()


def test_sgd_keeps_the_elements_that_would_not_be_finite() -> None:
    settings, drawn, stormy = storm_case("sgd")
    p = drawn.state["parameter"].astype(np.float64)
    update = formulas.step(settings, p, stormy, {}, 5)
    finite = np.isfinite(stormy)
    assert (update.parameter[~finite] == p[~finite]).all()
    assert (
        update.parameter[finite] == (p - 0.1 / math.sqrt(5) * stormy.astype(float))[finite]
    ).all()


def test_adamw_decays_by_the_nominal_figure() -> None:
    assert settings_for("adamw").weight_decay == 0.004
    assert settings_for("sgd").learning_rate == 0.1


def test_oracles_know_nothing_of_stepforge() -> None:
    """They would share its mistakes."""
    for path in Path(exact.__file__).parent.glob("*.py"):
        imported = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.Import)]
        froms = [n for n in ast.walk(ast.parse(path.read_text())) if isinstance(n, ast.ImportFrom)]
        names = {alias.name for node in imported for alias in node.names}
        names |= {node.module or "" for node in froms}
        assert not [name for name in names if name.split(".")[0] in ("stepforge", "iree")], path
