"""One artifact for several batch sizes: a batch's rows choose the function; state is shared."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.frontend.reference import ReferenceStep
from stepforge.runtime import Trainer
from stepforge.runtime.manifest import Argument, Function, Manifest
from stepforge.runtime.manifest_check import check
from stepforge.runtime.manifest_encode import to_json
from stepforge.runtime.manifest_parse import from_json
from stepforge.runtime.step import ACCUMULATE_STEPS, CompiledStep
from support import sized
from support.sized import batch
from support.training import snapshot

pytestmark = pytest.mark.compiler


@pytest.fixture
def step() -> Iterator[CompiledStep]:
    """Initialized, on local-sync, with an update for each batch."""
    with sized.artifact().load(device="local-sync") as made:
        made.initialize()
        made.variables[ACCUMULATE_STEPS] = 1
        yield made


def test_what_it_serves(step: CompiledStep) -> None:
    plain = ("train_step", "accumulate", "evaluate", "predict")
    assert step.functions == (*plain, *(f"{name}_b3" for name in plain))
    assert step.batch_sizes == (3, 8)


@pytest.mark.parametrize("target", ["cpu", pytest.param("vulkan", marks=pytest.mark.vulkan)])
def test_sizes_take_turns(target: str) -> None:
    """Against float64, through updates of one size, of the other, and of both.

    Allowed: 2^-24 for each rounding of sums of at most 24 terms through two layers, forward and
    back, is below 64 ULP of a value of size 1, and twice that where an operation may be a whole ULP
    off, as on Vulkan; each call adds as much again.
    """
    made = sized.artifact(target)
    reference = ReferenceStep(made.program, "float64")
    reference.initialize()
    with made.load() as step:
        step.initialize()
        for k, rows in enumerate((8, 3, 3, 3, 8, 8, 3, 8)):
            allowed = 128 * (k + 1) * 2.0**-24
            data, suffix = batch(rows, k), "" if rows == 8 else "_b3"
            wanted = reference.step(data, f"evaluate{suffix}")
            for name, value in step.evaluate(**data).items():
                np.testing.assert_allclose(value, wanted[name], rtol=allowed, atol=allowed)
            out = step.predict(x=data["x"])["out"]
            assert out.shape == (rows, 3)
            wanted = reference.step({"x": data["x"]}, f"predict{suffix}")
            np.testing.assert_allclose(out, wanted["out"], rtol=allowed, atol=allowed)
            wanted = reference.step(data, f"{'train_step' if k % 2 else 'accumulate'}{suffix}")
            got = step.train_step(**data)
            assert got["rows"] == rows
            np.testing.assert_allclose(got["loss"], wanted["loss"], rtol=allowed, atol=allowed)
            assert step.global_step == (k + 1) // 2
            for path, value in reference.variables.items():
                np.testing.assert_allclose(step.variables[path], value, rtol=allowed, atol=allowed)


EIGHT = batch(8)
REFUSED: list[Any] = [
    pytest.param(
        batch(4),
        "train_step: expected a batch of 3 or 8 rows, got 4; give batches of such sizes, or "
        "compile the artifact for this one too (batch_sizes, --batch)",
        id="another-size",
    ),
    pytest.param(batch(0), "train_step: expected a batch of 3 or 8 rows, got 0; ", id="empty"),
    pytest.param(
        {**EIGHT, "y": EIGHT["y"][:3]},
        "train_step: the inputs of a batch have equally many rows; 'x' has 8, 'y' has 3",
        id="uneven",
    ),
    pytest.param(
        {**EIGHT, "x": EIGHT["x"][0]},
        "input 'x' of train_step: expected shape (8, 4), got (4,)",
        id="rank",
    ),
    pytest.param(
        {**batch(3), "x": batch(3)["x"][:, :2]},
        "input 'x' of train_step: expected shape (3, 4), got (3, 2)",
        id="columns",
    ),
    pytest.param(
        {**batch(3), "scale": np.ones(8, np.float32)},
        "input 'scale' of train_step: expected shape (3,), got (8,)",
        id="no-batch-input",
    ),
    pytest.param(
        {**batch(3), "x": batch(3)["x"].astype(np.float64)},
        "input 'x' of train_step: expected dtype float32, got float64",
        id="dtype",
    ),
    pytest.param(
        {**batch(3), "x": [[1.0] * 4] * 3},
        "input 'x' of train_step: expected an array of float32[8, 4], got a list",
        id="list",
    ),
    pytest.param(
        {"x": EIGHT["x"]},
        "train_step: expected the inputs 'scale', 'x', 'y'; missing: 'scale', 'y'; ",
        id="missing",
    ),
]


@pytest.mark.parametrize(("given", "text"), REFUSED)
def test_wrong_batches(step: CompiledStep, given: Any, text: str) -> None:
    before = snapshot(step)
    with pytest.raises(runtime.InputError, match=f"^{re.escape(text)}"):
        step.train_step(**given)
    assert snapshot(step) == before


@pytest.mark.parametrize("function", ["evaluate", "predict"])
def test_no_rows(step: CompiledStep, function: str) -> None:
    given = batch(0) if function == "evaluate" else {"x": batch(0)["x"]}
    with pytest.raises(runtime.InputError, match=f"^{function}: .* of 3 or 8 rows, got 0"):
        getattr(step, function)(**given)


class Exported:
    """Another library's array, which counts how often it is exported."""

    def __init__(self, array: Any) -> None:
        self.array = array
        self.count = 0

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        self.count += 1
        return self.array


def test_other_arrays_are_exported_once(step: CompiledStep) -> None:
    given = {name: Exported(value) for name, value in batch(3).items()}
    assert step.evaluate(**given) == step.evaluate(**batch(3))
    assert [x.count for x in given.values()] == [1, 1, 1]


# Trainer.


def epoch(rows: int) -> list[dict[str, Any]]:
    data = {"x": batch(rows)["x"], "y": batch(rows)["y"]}
    return [
        {"scale": EIGHT["scale"], **{name: value[i : i + 8] for name, value in data.items()}}
        for i in range(0, rows, 8)
    ]


def test_a_short_last_batch(step: CompiledStep) -> None:
    history = Trainer(step).train(epoch(19), epochs=2, validation=epoch(11))
    assert history["rows"] == [8.0, 8.0, 3.0] * 2
    assert history.series("validation/rows") == ([3, 6], [5.5, 5.5])
    with sized.artifact().load(device="local-sync") as other:
        other.initialize()
        other.variables[ACCUMULATE_STEPS] = 1
        for data in epoch(19) * 2:
            other.train_step(**data)
        assert snapshot(other) == snapshot(step)


def test_a_last_batch_of_another_size(step: CompiledStep) -> None:
    with pytest.raises(runtime.InputError, match="of 3 or 8 rows, got 4") as caught:
        Trainer(step).train(epoch(20))
    assert caught.value.__notes__ == ["in batch 3 of epoch 1"]
    assert step.global_step == 2


# The manifest.


def manifest() -> Manifest:
    return sized.artifact().manifest


def test_the_manifest_needs_no_word_for_it() -> None:
    assert from_json(to_json(manifest())) == manifest()


def with_inputs(name: str, **shapes: tuple[int, ...] | None) -> Manifest:
    """Other shapes of a function's inputs; None: without."""

    def changed(a: Argument) -> Argument | None:
        if a.role != "input" or a.name not in shapes:
            return a
        shape = shapes[a.name]
        return None if shape is None else replace(a, shape=shape)

    def of(f: Function) -> Function:
        if f.name != name:
            return f
        return replace(f, arguments=tuple(x for a in f.arguments if (x := changed(a)) is not None))

    made = manifest()
    return replace(made, functions=tuple(map(of, made.functions)))


@pytest.mark.parametrize(
    ("broken", "text"),
    [
        (lambda: with_inputs("evaluate_b3", x=(4, 4)), "'x' is not that of 'evaluate' with 3 rows"),
        (lambda: with_inputs("evaluate_b3", x=(3, 5)), "'x' is not that of 'evaluate' with 3 rows"),
        (lambda: with_inputs("evaluate_b3", x=(3,)), "'x' is not that of 'evaluate' with 3 rows"),
        (lambda: with_inputs("evaluate_b3", x=None), "its inputs are not those of 'evaluate'"),
        (lambda: with_inputs("predict_b3", x=(8, 4)), "the inputs with a row per example are not"),
        (lambda: with_inputs("evaluate", x=(7, 4)), "input 'x' differs between functions"),
    ],
)
def test_sizes_that_do_not_fit(broken: Any, text: str) -> None:
    with pytest.raises(runtime.ArtifactFormatError, match=re.escape(text)):
        check(broken())
