"""The character transformer: what it imports, that it learns, and what it writes."""

from __future__ import annotations

import math
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest

from stepforge import runtime
from stepforge.frontend import AdamW, Context, train_program
from stepforge.tools.model import load_function
from support.example import EXAMPLES, load_example, needed_imports, transformer_artifact

STEPS = 120


@pytest.fixture(scope="module")
def example() -> ModuleType:
    return load_example("char_transformer")


@pytest.fixture(scope="module")
def trained(example: ModuleType) -> Iterator[tuple[runtime.CompiledStep, runtime.History, float]]:
    with transformer_artifact().load() as step:
        history, held_out = example.train(step, STEPS, progress=False)
        yield step, history, held_out


def test_training_needs_numpy_and_the_runtime(example: ModuleType) -> None:
    assert needed_imports("char_transformer") == {"numpy", "stepforge.runtime"}
    assert example.decode(example.encode("print(1)")) == "print(1)"


def test_the_command_line_takes_its_loss(example: ModuleType) -> None:
    loss = load_function(f"{EXAMPLES / 'char_transformer.py'}:loss")
    inputs = {"tokens": "2x8xi32", "targets": "2x8xi32"}
    program = train_program(loss, Context(), AdamW(), inputs=inputs)
    assert [entry.name for entry in program.entry_points] == [
        *("train_step", "evaluate", "predict", "initialize")
    ]
    (argument,) = (x for x in program.entry_point("predict").arguments if x.role == "input")
    assert argument.name == "tokens"


def test_targets_are_the_next_characters(example: ModuleType) -> None:
    tokens = example.encode(example.TEXT[:200])
    (batch,) = example.batches(tokens, (3, 16), 1, 0)
    assert batch["tokens"].shape == batch["targets"].shape == (3, 16)
    np.testing.assert_array_equal(batch["tokens"][:, 1:], batch["targets"][:, :-1])


@pytest.mark.compiler
def test_it_learns(
    example: ModuleType, trained: tuple[runtime.CompiledStep, runtime.History, float]
) -> None:
    """By a third, from the loss of a guess; held-out text as well."""
    step, history, held_out = trained
    guess = math.log(len(example.VOCABULARY))
    assert step.global_step == STEPS
    assert step.learning_rate < example.RATE / 10  # the schedule came to its end
    assert np.mean(history["loss"][-2:]) < 0.67 * guess
    assert held_out < 0.67 * guess


@pytest.mark.compiler
def test_it_starts_from_a_guess(example: ModuleType) -> None:
    with transformer_artifact().load() as step:
        step.initialize()
        (batch,) = example.batches(example.encode(example.TEXT), example.batch_shape(step), 1, 0)
        assert step.evaluate(**batch)["loss"] == pytest.approx(
            math.log(len(example.VOCABULARY)), rel=0.1
        )


@pytest.mark.compiler
def test_it_writes_characters_of_the_text(
    example: ModuleType, trained: tuple[runtime.CompiledStep, runtime.History, float]
) -> None:
    step, _, _ = trained
    count, time = example.batch_shape(step)
    prompts = example.encode(example.TEXT[: count * time]).reshape(count, time)
    written = example.sample(step, prompts, 30, temperature=0.7)
    assert written.shape == (count, 30)
    assert set(example.decode(written.reshape(-1))) <= set(example.VOCABULARY)
    assert len({row.tobytes() for row in written}) == count
    np.testing.assert_array_equal(written, example.sample(step, prompts, 30, temperature=0.7))
    coldest = example.sample(step, prompts, 1, temperature=1e-6)
    logits = step.predict(tokens=prompts)["logits"]
    np.testing.assert_array_equal(coldest[:, 0], logits.argmax(axis=1))
    # Spaces are a fifth of the text, and what it learns first.
    assert (written == example.VOCABULARY.index(" ")).mean() > 0.05


@pytest.mark.compiler
def test_another_vocabulary_is_refused(
    example: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    with transformer_artifact().load() as step:
        monkeypatch.setattr(example, "VOCABULARY", "abc")
        with pytest.raises(SystemExit, match="has 3 characters here, the artifact is of"):
            example.batch_shape(step)
