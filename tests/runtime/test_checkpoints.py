"""A folder of checkpoints: names, rotation, restoring the newest whole one."""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.runtime import Checkpoints, CheckpointWarning
from stepforge.runtime.step import CompiledStep
from support import handmade

pytestmark = pytest.mark.compiler

Arrays = dict[str, NDArray[Any]]


def name(number: int) -> str:
    return f"step-{number:08d}.safetensors"


def save_each(checkpoints: Checkpoints, step: CompiledStep, *numbers: int) -> None:
    for number in numbers:
        step.variables["/global_step"] = number
        checkpoints.save(step)


def damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.fixture
def checkpoints(tmp_path: Path) -> Checkpoints:
    return Checkpoints(tmp_path / "runs" / "7", keep=2)


# Names.


def test_named_by_the_global_step(
    checkpoints: Checkpoints, step: CompiledStep, gradients: Arrays
) -> None:
    step.step(gradients)
    path = checkpoints.save(step)
    assert path == checkpoints.directory / "step-00000001.safetensors"
    save_each(checkpoints, step, 123456789012)
    assert checkpoints.names() == (name(1), "step-123456789012.safetensors")
    assert checkpoints.latest() == checkpoints.directory / "step-123456789012.safetensors"


def test_nothing_there(checkpoints: Checkpoints, step: CompiledStep) -> None:
    assert checkpoints.names() == ()
    assert checkpoints.latest() is None
    assert checkpoints.restore(step) is None
    assert not checkpoints.directory.exists()


def test_other_files_are_left_alone(checkpoints: Checkpoints, step: CompiledStep) -> None:
    checkpoints.directory.mkdir(parents=True)
    others = ["notes.txt", "step-1.safetensors", "step-000000001.safetensors", f".{name(9)}.1.tmp"]
    for other in others:
        (checkpoints.directory / other).write_text("mine")
    save_each(checkpoints, step, 1, 2, 3, 4)
    assert checkpoints.names() == (name(3), name(4))
    assert sorted(os.listdir(checkpoints.directory)) == sorted([*others, name(3), name(4)])


# Rotation.


@pytest.mark.parametrize("keep", [2, 3])
def test_the_newest_stay(tmp_path: Path, step: CompiledStep, keep: int) -> None:
    checkpoints = Checkpoints(tmp_path, keep)
    save_each(checkpoints, step, *range(1, 7))
    assert checkpoints.names() == tuple(name(n) for n in range(7 - keep, 7))


@pytest.mark.parametrize("reopened", [False, True])
def test_damaged_ones_do_not_count(
    checkpoints: Checkpoints, step: CompiledStep, reopened: bool
) -> None:
    save_each(checkpoints, step, 1, 2)
    damage(checkpoints.directory / name(2))
    if reopened:
        checkpoints = Checkpoints(checkpoints.directory, keep=2)
    save_each(checkpoints, step, 3)
    assert checkpoints.names() == (name(1), name(2), name(3))
    save_each(checkpoints, step, 4)
    assert checkpoints.names() == (name(3), name(4))


def test_the_same_step_replaces(checkpoints: Checkpoints, step: CompiledStep) -> None:
    save_each(checkpoints, step, 5)
    step.learning_rate = 0.25
    save_each(checkpoints, step, 5)
    step.learning_rate = 0.5
    checkpoints.restore(step)
    assert step.learning_rate == 0.25
    assert checkpoints.names() == (name(5),)


def test_nothing_goes_before_the_new_one_is_there(
    checkpoints: Checkpoints, step: CompiledStep
) -> None:
    save_each(checkpoints, step, 1, 2)
    (checkpoints.directory / name(3)).mkdir()
    step.variables["/global_step"] = 3
    with pytest.raises(runtime.CheckpointWriteError, match=r"cannot write the checkpoint .*step-"):
        checkpoints.save(step)
    assert checkpoints.names() == (name(1), name(2), name(3))
    assert list(checkpoints.directory.glob(".*")) == []


def test_what_cannot_be_removed_is_a_warning(checkpoints: Checkpoints, step: CompiledStep) -> None:
    checkpoints.directory.mkdir(parents=True)
    (checkpoints.directory / name(1)).mkdir()
    save_each(checkpoints, step, 2)
    with pytest.warns(CheckpointWarning, match=r"the old checkpoint .*00001.* cannot be removed"):
        save_each(checkpoints, step, 3)
    assert checkpoints.names() == (name(1), name(2), name(3))


def test_a_folder_of_another_run_is_refused(checkpoints: Checkpoints, step: CompiledStep) -> None:
    save_each(checkpoints, step, 100, 200)
    with pytest.raises(
        runtime.CheckpointWriteError,
        match=r"holds step-00000200.safetensors, which is ahead of step 10: restore it, remove",
    ):
        save_each(checkpoints, step, 10)
    assert checkpoints.names() == (name(100), name(200))
    damage(checkpoints.directory / name(200))
    save_each(checkpoints, step, 150)
    assert checkpoints.names() == (name(100), name(150), name(200))


# Restoring.


def test_the_newest_with_its_texts(
    checkpoints: Checkpoints, step: CompiledStep, gradients: Arrays, parameters: Arrays
) -> None:
    checkpoints.save(step)
    step.step(gradients)
    texts = {"note": "zwei\nZeilen: ü", "": ""}
    path = checkpoints.save(step, metadata=texts)
    saved = handmade.snapshot(step)
    step.step(gradients)
    with handmade.adam().load() as other:
        restored = checkpoints.restore(other)
        assert restored == runtime.Restored(path, 1, texts)
        assert handmade.snapshot(other) == saved
        assert other.restore(path) == texts


def test_damaged_newest_falls_back(
    checkpoints: Checkpoints, step: CompiledStep, gradients: Arrays
) -> None:
    checkpoints.save(step)
    saved = handmade.snapshot(step)
    step.step(gradients)
    damage(checkpoints.save(step))
    with pytest.warns(CheckpointWarning, match=r"passed over: checkpoint .*1.safetensors was chan"):
        restored = checkpoints.restore(step)
    assert restored is not None
    assert (restored.path.name, restored.step) == (name(0), 0)
    assert handmade.snapshot(step) == saved


def test_unreadable_newest_falls_back(checkpoints: Checkpoints, step: CompiledStep) -> None:
    save_each(checkpoints, step, 1)
    (checkpoints.directory / name(2)).mkdir()
    with pytest.warns(CheckpointWarning, match=r"00002.safetensors cannot be read: .*directory"):
        restored = checkpoints.restore(step)
    assert restored is not None
    assert restored.step == 1
    with pytest.raises(runtime.CheckpointError, match=r"00002.safetensors cannot be read"):
        checkpoints.restore(step, strict=True)


def test_strict_raises_and_changes_nothing(
    checkpoints: Checkpoints, step: CompiledStep, gradients: Arrays
) -> None:
    checkpoints.save(step)
    step.step(gradients)
    damage(checkpoints.save(step))
    step.step(gradients)
    before = handmade.snapshot(step)
    with pytest.raises(runtime.CheckpointError, match=r"was changed or damaged"):
        checkpoints.restore(step, strict=True)
    assert handmade.snapshot(step) == before


def test_of_another_model_falls_back(checkpoints: Checkpoints, step: CompiledStep) -> None:
    save_each(checkpoints, step, 1)
    with handmade.adam({"/w": (3,)}).load() as other:
        other.initialize({"w": np.ones(3, np.float32)})
        other.variables["/global_step"] = 2
        other.save(checkpoints.directory / name(2))
    with pytest.warns(CheckpointWarning, match=r"belongs to another model or optimizer"):
        restored = checkpoints.restore(step)
    assert restored is not None
    assert restored.step == 1


def test_none_that_fits_is_an_error(checkpoints: Checkpoints, step: CompiledStep) -> None:
    save_each(checkpoints, step, 1, 2)
    for found in checkpoints.names():
        damage(checkpoints.directory / found)
    before = handmade.snapshot(step)
    with (
        pytest.warns(CheckpointWarning, match="passed over"),
        pytest.raises(runtime.CheckpointError, match=r"none of the 2 checkpoints in .* can be"),
    ):
        checkpoints.restore(step)
    assert handmade.snapshot(step) == before


def test_state_that_is_not_there(checkpoints: Checkpoints) -> None:
    with handmade.adam().load() as empty:
        with pytest.raises(runtime.NotInitializedError):
            checkpoints.save(empty)
        assert checkpoints.names() == ()


def test_warnings_may_be_errors(checkpoints: Checkpoints, step: CompiledStep) -> None:
    save_each(checkpoints, step, 1, 2)
    damage(checkpoints.directory / name(2))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(CheckpointWarning):
            checkpoints.restore(step)


# Wrong arguments.


@pytest.mark.parametrize("keep", [1, 0, -1, 2.0, True, None, "3"])
def test_keep(tmp_path: Path, keep: Any) -> None:
    with pytest.raises(runtime.InputError, match=r"expected keep to be an integer of at least 2"):
        Checkpoints(tmp_path, keep)


@pytest.mark.parametrize(
    "texts",
    [
        {"stepforge.format": "2"},
        {"a": 1},
        {1: "a"},
        {"a": "\ud800"},
        {"a": "x" * (2**20 + 1)},
        {str(i): "" for i in range(101)},
        {str(i): "x" * 2**20 for i in range(5)},
    ],
    ids=["reserved", "number", "name", "surrogate", "long", "many", "much"],
)
def test_metadata(checkpoints: Checkpoints, step: CompiledStep, texts: Any) -> None:
    with pytest.raises(runtime.InputError, match=r"metadata of a checkpoint: expected at most 100"):
        checkpoints.save(step, metadata=texts)
    assert checkpoints.names() == ()


def test_a_negative_count(checkpoints: Checkpoints, step: CompiledStep) -> None:
    step.variables["/global_step"] = -1
    with pytest.raises(runtime.InputError, match=r"named by the count of steps, and this"):
        checkpoints.save(step)


def test_a_folder_that_cannot_be(tmp_path: Path, step: CompiledStep) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(runtime.CheckpointError, match=r"cannot list the checkpoints in .*file"):
        Checkpoints(tmp_path / "file").save(step)
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(runtime.CheckpointWriteError, match=r"cannot make the folder .*link"):
        Checkpoints(tmp_path / "link").save(step)
