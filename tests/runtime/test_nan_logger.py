"""Reports of non-finite gradients, from artifacts compiled to count them."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.runtime import NanLogger, NanReport, Tracer
from stepforge.runtime.step import CompiledStep
from support import handmade

pytestmark = pytest.mark.compiler

Arrays = dict[str, NDArray[Any]]


def bad(gradients: Arrays) -> Arrays:
    w, b = gradients["w"].copy(), gradients["b"].copy()
    w[0, 0], w[7, 3] = np.nan, -np.inf
    b[2] = np.inf
    return {"w": w, "b": b}


@pytest.fixture
def counting(place: Any, parameters: Arrays) -> CompiledStep:
    made = handmade.counting_nonfinite(place.target).load(device=place.device)
    made.initialize(parameters)
    return made


def test_reports_variable_step_and_count(
    counting: CompiledStep, gradients: Arrays, caplog: pytest.LogCaptureFixture
) -> None:
    logger = NanLogger()
    logger.attach(counting)
    counting.step(gradients)
    counting.step(bad(gradients))
    counting.step(gradients)
    counting.step({**gradients, "b": np.full(4, np.nan, np.float32)})
    assert logger.reports == (NanReport("/w", 2, 2), NanReport("/b", 2, 1), NanReport("/b", 4, 4))
    assert [r.levelno for r in caplog.records] == [logging.WARNING] * 3
    assert caplog.messages[0] == "step 2: 2 non-finite values in the gradient of /w"
    counting.close()


def step_on_cpu(parameters: Arrays) -> CompiledStep:
    made = handmade.counting_nonfinite().load()
    made.initialize(parameters)
    return made


def test_handler_keep_and_clear(parameters: Arrays, gradients: Arrays) -> None:
    seen: list[NanReport] = []
    logger = NanLogger(seen.append, keep=2)
    with step_on_cpu(parameters) as step:
        logger.attach(step)
        for _ in range(3):
            step.step(bad(gradients))
    assert len(seen) == 6
    assert logger.reports == tuple(seen[-2:])
    logger.clear()
    assert logger.reports == ()


def test_detached(parameters: Arrays, gradients: Arrays) -> None:
    logger = NanLogger()
    logger.detach()
    with step_on_cpu(parameters) as step:
        logger.attach(step)
        logger.detach()
        step.step(bad(gradients))
    assert logger.reports == ()


def test_any_tracer(parameters: Arrays, gradients: Arrays) -> None:
    class Mine:
        def __init__(self) -> None:
            self.calls: list[tuple[Any, ...]] = []

        def trace(self, count: int, *scopes: str) -> None:
            self.calls.append((count, *scopes))

    mine = Mine()
    assert isinstance(mine, Tracer)
    assert isinstance(NanLogger(), Tracer)
    with step_on_cpu(parameters) as step:
        step.attach_tracer(mine)
        step.step(bad(gradients))
    assert mine.calls == [(2, "Gradients", "/w"), (1, "Gradients", "/b")]


def test_handler_may_use_the_step_and_raise(parameters: Arrays, gradients: Arrays) -> None:
    with step_on_cpu(parameters) as step:

        def stop(report: NanReport) -> None:
            raise FloatingPointError(f"{report} at {step.global_step}")

        logger = NanLogger(stop)
        logger.attach(step)
        with pytest.raises(FloatingPointError, match=r"step 1: 2 non-finite .* at 1"):
            step.step(bad(gradients))
        assert step.global_step == 1
        step.step(gradients)


def test_traced_by_hand() -> None:
    logger = NanLogger(lambda _: None)
    logger.trace(0, "Gradients", "w")
    logger.trace(3, "Gradients", "w")
    assert logger.reports == (NanReport("Gradients/w", 0, 3),)


def test_artifact_that_does_not_count(step: CompiledStep) -> None:
    with pytest.raises(runtime.InputError, match=r"does not count .*--set nanlogger=true"):
        NanLogger().attach(step)


def test_no_report_is_saved(parameters: Arrays, tmp_path: Any) -> None:
    with step_on_cpu(parameters) as step:
        NanLogger().attach(step)
        step.save(tmp_path / "x.safetensors")
    assert b"nanlogger" not in (tmp_path / "x.safetensors").read_bytes()


@pytest.mark.parametrize("tracer", [None, 1, object(), print])
def test_no_tracer(step: CompiledStep, tracer: Any) -> None:
    with pytest.raises(runtime.InputError, match=r"expected an object with a method trace"):
        step.attach_tracer(tracer)
