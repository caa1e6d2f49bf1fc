"""docs/optimizers.md: its optimizer compiles, and steps as its formula says."""

from __future__ import annotations

import dataclasses
import sys
import types
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from docs import pages
from stepforge import runtime
from stepforge.frontend import (
    PARAM_LEARNING_RATE,
    Context,
    CosineSchedule,
    FrontendError,
    Settable,
    Setting,
    compile_optimizer,
    trace,
)
from stepforge.frontend.program_json import program_from_json, program_to_json

PAGE = "optimizers.md"
MODULE = "written_optimizer"
RATE, BETA1, BETA2, DECAY = 0.01, 0.9, 0.99, 0.1


@pytest.fixture(scope="module")
def page() -> Iterator[dict[str, Any]]:
    """The names of the page's first program, in a module of their own, as a dataclass needs."""
    module = types.ModuleType(MODULE)
    sys.modules[MODULE] = module
    exec(pages.fences(PAGE)[0].text, module.__dict__)
    yield module.__dict__
    del sys.modules[MODULE]


@pytest.fixture
def lion(page: dict[str, Any]) -> Any:
    return page["Lion"]


def formula(p: Any, m: Any, g: Any, beta1: float, decay: float) -> tuple[Any, Any]:
    c = beta1 * m + (1 - beta1) * g
    return p - RATE * (np.sign(c) + decay * p), BETA2 * m + (1 - BETA2) * g


@pytest.mark.compiler
@pytest.mark.parametrize("decay", [0.0, DECAY])
def test_it_steps_as_its_formula(lion: Any, decay: float) -> None:
    generator = np.random.default_rng(5)
    first = generator.standard_normal((8, 4)).astype(np.float32)
    p, m, beta1 = first.astype(np.float64), np.zeros((8, 4)), BETA1
    rule = lion(learning_rate=RATE, beta1=Settable(BETA1), decay=Settable(decay) if decay else None)
    with compile_optimizer(rule, {"w": first}).load() as step:
        step.initialize({"w": first})
        for t in range(6):
            if t == 3:
                step.hyperparameters["lion_beta1"] = beta1 = 0.5
            g = generator.standard_normal((8, 4)).astype(np.float32)
            step.step({"w": g})
            p, m = formula(p, m, g.astype(np.float64), beta1, decay)
            # Each step rounds p, the step and m a few times: 2^-24 of values below 4.
            bound = (t + 1) * 8 * 4 * 2.0**-24
            assert np.abs(step.parameters["w"] - p).max() <= bound
            assert np.abs(step.variables["/Lion/w_momentum"] - m).max() <= bound
        with pytest.raises(runtime.HyperparameterError, match="of at least 0 and below 1, got 1"):
            step.hyperparameters["lion_beta1"] = 1


@pytest.mark.compiler
def test_the_page_runs(page: dict[str, Any]) -> None:
    exec(pages.fences(PAGE)[1].text, dict(page))


def settings_of(rule: Any, ctx: Context | None = None) -> dict[str, Any]:
    ctx = Context() if ctx is None else ctx
    ctx.variable("w", (3,))
    program = trace(rule, ctx)
    assert program_from_json(program_to_json(program)).groups == program.groups
    return {x.name: x for x in program.hyperparameters}


def test_a_context_sets_an_optimizers_own_hyperparameter(lion: Any) -> None:
    ctx = Context()
    ctx.set_param("lion_beta1", Settable(0.5), custom=True)
    found = settings_of(lion(), ctx)["lion_beta1"]
    assert (found.value, found.settable, found.variable) == (0.5, True, "/optimizers/lion_beta1")
    assert (found.minimum, found.below) == (0.0, 1.0)


def test_from_context_remembers_an_optimizers_own_hyperparameter(lion: Any) -> None:
    ctx = Context()
    ctx.set_param("lion_decay", 0.25, custom=True)
    assert settings_of(lion.from_context(ctx))["lion_decay"].value == 0.25


def test_a_schedule_may_drive_it(lion: Any) -> None:
    found = settings_of(lion(decay=CosineSchedule(period=10)))["lion_decay"]
    assert found.variable == "/optimizers/lion_decay"


@pytest.mark.parametrize("value", [1.0, -0.1, Settable(2.0), "fast", True, float("nan")])
def test_its_bounds_hold_everywhere(lion: Any, value: Any) -> None:
    message = "'lion_beta1' has a value that it cannot take(.|\\n)*at least 0 and below 1"
    with pytest.raises(FrontendError, match=message):
        lion(beta1=value)
    ctx = Context()
    ctx.set_param("lion_beta1", value, custom=True)
    with pytest.raises(FrontendError, match=message):
        settings_of(lion(), ctx)


WRONG = [
    (Setting("x", "adam_epsilon", None, 1e-8, minimum=1.0), "is declared already"),
    (Setting("x", "lion_x", None, "much"), "is a number, and 'lion_x' is none"),
    (Setting("x", "lion_x", None, True), "is a number, and 'lion_x' is none"),
    (Setting("x", "lion_x", None, 3.0, below=1.0), "a value that it cannot take"),
    (Setting("x", "lion_x", 0.5, 3), "an integer"),
]


@pytest.mark.parametrize(("setting", "message"), WRONG)
def test_wrong_declarations(lion: Any, setting: Setting, message: str) -> None:
    rate = Setting("learning_rate", PARAM_LEARNING_RATE, None, 0.1)

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Wrong(lion):
        def settings(self) -> tuple[Setting, ...]:
            return (rate, setting)

    with pytest.raises(FrontendError, match=message):
        Wrong()


def test_a_learning_rate_is_needed(lion: Any) -> None:
    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Without(lion):
        def settings(self) -> tuple[Setting, ...]:
            return ()

    with pytest.raises(FrontendError, match="no setting with the key 'learning_rate'"):
        Without()
