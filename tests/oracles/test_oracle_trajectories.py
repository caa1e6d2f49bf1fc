"""The float64 formulas agree with what torch, optax and Keras made of them over 50 steps."""

import numpy as np
import pytest

from oracles import formulas, trajectories

TOLERANCE = 1e-12
"""Relative to the largest value an element takes: a parameter may pass through zero."""

NAMES = trajectories.names()


def excess(actual: np.ndarray, expected: np.ndarray, scale: np.ndarray) -> float:
    return float(np.max(np.abs(actual - expected) / np.where(scale == 0.0, 1.0, scale)))


@pytest.mark.parametrize("name", NAMES)
def test_follows_the_peer_for_50_steps(name: str) -> None:
    case = trajectories.load(name)
    state = {slot: np.zeros_like(case.parameters[0]) for slot in case.settings.slots}
    rows = [case.parameters[0]]
    moment = np.zeros_like(rows[0])
    for t, gradient in enumerate(case.gradients, 1):
        rate = case.learning_rate(t)
        update = formulas.step(case.settings, rows[-1], gradient, state, t, learning_rate=rate)
        state = update.slots
        rows.append(update.parameter)
        moment = np.maximum(moment, update.moment_scale)
    assert len(rows) == 51
    scale = np.max(np.abs(case.parameters), axis=0)
    assert excess(np.array(rows), case.parameters, scale) <= TOLERANCE
    for slot, values in case.slots.items():
        scale = moment if slot == "m" else np.abs(values)
        assert excess(state[slot], values, scale) <= TOLERANCE, slot


def test_cases_cover_what_peers_can_express() -> None:
    cases = [trajectories.load(name) for name in NAMES]
    covered = {(case.peer, case.settings.optimizer) for case in cases}
    assert covered >= {
        *(("torch", name) for name in ("sgd", "adam", "adamw", "adamax", "rmsprop")),
        *(("optax", name) for name in ("sgd", "adam", "adamw", "adamax", "rmsprop")),
        ("keras", "adamax"),
    }
    assert any(case.learning_rates for case in cases)
    assert {case.settings.weight_decay > 0.0 for case in cases} == {True, False}
    assert all((case.gradients[7] == 0.0).all() for case in cases), "no step of zero gradient"
    assert any(case.settings.cosine for case in cases)
    assert any(not np.isfinite(case.gradients).all() for case in cases)


def test_every_case_records_its_peers_version() -> None:
    for name in NAMES:
        case = trajectories.load(name)
        assert case.versions.get(case.peer), name
        assert case.call


def test_a_wrong_formula_would_be_seen() -> None:
    """Epsilon inside the maximum, torch's Adamax, is another trajectory than Keras's."""
    case = trajectories.load("keras_adamax")
    state = {slot: np.zeros_like(case.parameters[0]) for slot in case.settings.slots}
    p = case.parameters[0]
    for t, gradient in enumerate(case.gradients, 1):
        shifted = np.abs(gradient) + case.settings.epsilon
        update = formulas.step(case.settings, p, gradient, state, t)
        state = {**update.slots, "v": np.maximum(0.999 * state["v"], shifted)}
        p = p - update.rate * state["m"] / state["v"]
    assert abs(p[0] - case.parameters[-1][0]) > 1e-6
