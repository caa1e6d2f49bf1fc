"""`reduce` and `apply`: what they refuse, and that nothing is lost when they do."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.runtime.step import CompiledStep

pytestmark = pytest.mark.compiler

SHAPES = {"w": (8, 4), "b": (4,)}


@cache
def artifact(settings: str, *, phases: bool = True) -> Any:
    from stepforge.frontend import Adam, AdamW, Context, compile_optimizer  # noqa: PLC0415

    optimizers: dict[str, Any] = {"step": AdamW()}
    if settings == "two":
        optimizers = {"one": AdamW(), "two": Adam(scope="Two")}
    context = Context()
    context.set_params({"clip_global_norm": 1.0})
    if settings == "traced":
        context.set_params({"nanlogger": True})
    if settings == "skipping":
        context.set_params({"clip_global_norm": 0.0, "skip_nonfinite": True})
    parameters = {name: (shape, "float32") for name, shape in SHAPES.items()}
    return compile_optimizer(optimizers, parameters, context=context, phases=phases)


def arrays(seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {k: generator.normal(size=v).astype(np.float32) for k, v in SHAPES.items()}


@pytest.fixture(params=["local-sync", "local-task"])
def step(request: pytest.FixtureRequest) -> Iterator[CompiledStep]:
    with artifact("plain").load(device=request.param) as made:
        made.initialize(arrays(1))
        yield made


def test_reduce_gives_a_copy_and_changes_nothing(step: CompiledStep) -> None:
    before = step.snapshot().values
    given = arrays(2)
    partials = step.reduce(given)
    expected = sum(np.square(x, dtype=np.float64).sum() for x in given.values())
    # 36 squares, each rounded and added to some others.
    np.testing.assert_allclose(partials, [expected], rtol=36 * 2.0**-24)
    kept = partials.copy()
    step.reduce(arrays(3))
    assert partials.tobytes() == kept.tobytes()
    assert (partials.dtype, partials.shape) == (np.float32, (1,))
    after = step.snapshot().values
    assert all(after[path].tobytes() == value.tobytes() for path, value in before.items())
    assert step.global_step == 0


def test_apply_is_one_step(step: CompiledStep) -> None:
    """With gradients that are given, or written before; and with those that `reduce` was given."""
    for t in range(3):
        partials = step.reduce(arrays(t))
        step.apply(arrays(t) if t else None, partials, wait=t > 1)
    assert step.global_step == 3


def test_the_sum_of_others_counts(step: CompiledStep) -> None:
    """At ten times the norm all is a tenth, as the first moment of the first step shows."""
    given = arrays(2)
    step.apply(given, step.reduce(given))
    (path,) = (p for p in step.variables if p.endswith("w_1st_moment"))
    alone = step.variables[path]
    step.initialize(arrays(1))
    step.apply(given, step.reduce(given) * np.float32(100))
    # A root, a quotient and two products, each rounded.
    np.testing.assert_allclose(step.variables[path] * 10, alone, rtol=8 * 2.0**-24)


BAD: dict[str, tuple[Any, Any, str]] = {
    "a number": (arrays(2), 3.0, r"partials 'sum_of_squares' of 'apply': expected an array of"),
    "None": (arrays(2), None, r"partials 'sum_of_squares' of 'apply': expected an array"),
    "dtype": (arrays(2), np.ones(1), r"expected dtype float32, got float64.*\.astype"),
    "shape": (arrays(2), np.ones(2, "f4"), r"expected shape \(1,\), got \(2,\)"),
    "rank": (arrays(2), np.float32(1), r"expected shape \(1,\), got \(\)"),
    "gradients": ({"w": arrays(2)["w"]}, np.ones(1, "f4"), r"step 'apply': .*missing: 'b'"),
    "gradient": (
        {**arrays(2), "b": np.ones(5, "f4")},
        np.ones(1, "f4"),
        r"gradient 'b': expected shape \(4,\)",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_apply_refuses_before_anything_changed(step: CompiledStep, name: str) -> None:
    gradients, partials, message = BAD[name]
    step.reduce(arrays(7))
    before, own = step.snapshot().values, {k: v.copy() for k, v in step.gradients.items()}
    with pytest.raises(runtime.InputError, match=message):
        step.apply(gradients, partials)
    after = step.snapshot().values
    assert all(after[path].tobytes() == value.tobytes() for path, value in before.items())
    assert all(step.gradients[k].tobytes() == v.tobytes() for k, v in own.items())
    step.apply(None, step.reduce(arrays(7)))


def test_gradients_are_checked_by_reduce(step: CompiledStep) -> None:
    with pytest.raises(runtime.GradientError, match=r"step 'reduce': expected one gradient"):
        step.reduce({"w": arrays(1)["w"]})
    with pytest.raises(runtime.GradientError, match=r"gradient 'b': expected dtype float32"):
        step.reduce({**arrays(1), "b": np.ones(4)})


def test_before_the_first_values_and_after_the_end() -> None:
    with artifact("plain").load() as step:
        with pytest.raises(runtime.NotInitializedError, match="initialize"):
            step.reduce(arrays(1))
        with pytest.raises(runtime.NotInitializedError, match="initialize"):
            step.apply(arrays(1), np.ones(1, np.float32))
    with pytest.raises(runtime.ClosedError):
        step.reduce(arrays(1))


def test_without_phases() -> None:
    with artifact("plain", phases=False).load() as step:
        step.initialize(arrays(1))
        for call in (lambda: step.reduce(arrays(1)), lambda: step.apply(None, np.ones(1, "f4"))):
            with pytest.raises(runtime.InputError, match=r"'step' has no phases.*phases=True"):
                call()


def test_a_phase_is_no_step(step: CompiledStep) -> None:
    step.step(arrays(1))  # the only step, of three functions
    for name in ("reduce", "apply"):
        with pytest.raises(runtime.InputError, match=rf"step: '{name}' is one phase of a step"):
            step.step(arrays(1), function=name)
        with pytest.raises(runtime.UnknownNameError, match=f"no entry point '{name}'"):
            step.reduce(arrays(1), function=name)


def test_several_entry_points() -> None:
    with artifact("two").load() as step:
        step.initialize(arrays(1))
        assert step.functions == (
            *("one", "one_reduce", "one_apply", "two", "two_reduce", "two_apply"),
        )
        with pytest.raises(runtime.InputError, match=r"name one: reduce.*of 'one', 'two'$"):
            step.reduce(arrays(1))
        with pytest.raises(runtime.UnknownNameError, match=r"'twoo'.*'two'"):
            step.reduce(arrays(1), function="twoo")
        partials = step.reduce(arrays(1), function="two")
        step.apply(None, partials, function="two")
        moved = [p for p in step.variables if "moment" in p and step.variables[p].any()]
        assert moved
        assert all(path.startswith("/Two") for path in moved)


def test_skipped_steps_are_counted_on_the_device() -> None:
    with artifact("skipping").load() as step:
        step.initialize(arrays(1))
        partials = step.reduce({**arrays(1), "b": np.array([np.nan, 1, np.inf, 1], "f4")})
        assert (partials.tolist(), partials.dtype) == ([2], np.int32)
        before = step.parameters["w"]
        step.apply(arrays(1), partials)  # another shard's gradients were bad
        assert step.parameters["w"].tobytes() == before.tobytes()
        step.apply(arrays(1), np.zeros(1, np.int32))
        assert (step.global_step, int(step.variables["/optimizers/skipped_steps"])) == (1, 1)


def test_tracers_are_told_by_apply() -> None:
    found: list[tuple[int, tuple[str, ...]]] = []

    class Tracer:
        def trace(self, count: int, *scopes: str) -> None:
            found.append((count, scopes))

    with artifact("traced").load() as step:
        step.initialize(arrays(1))
        step.attach_tracer(Tracer())
        given = {**arrays(1), "b": np.array([np.nan, 1, np.inf, 1], "f4")}
        partials = step.reduce(given)
        assert found == []
        step.apply(None, partials)
        assert [count for count, _ in found] == [2]
