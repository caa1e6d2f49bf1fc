"""Checkpoints of every format version are read for ever, to the last bit (R16)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from artifacts import make_checkpoints
from artifacts.make_checkpoints import ADAM, EVERY_DTYPE, NOTE
from reliability.places import PLACES, Place
from stepforge.runtime.checkpoint import verify_checkpoint
from stepforge.runtime.safetensors_file import Tensors, decode, encode
from support import handmade

KEPT = {
    ADAM: "ca83fbb044bcfaad63e0a288cfc7de203afc98ae8172bb4087e3a82f77c67b7e",
    EVERY_DTYPE: "12f4bcc57a097b0711e2fefcd74e4a5830a66fa523e56fcd3d1695b388e93733",
}
"""The SHA-256 of each file: no change of the code is a reason to change one."""


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_the_files_are_what_was_written(path: Path) -> None:
    assert hashlib.sha256(path.read_bytes()).hexdigest() == KEPT[path]
    verify_checkpoint(path)


def test_there_is_one_of_each_kind() -> None:
    assert sorted(KEPT) == sorted(ADAM.parent.glob("checkpoint-*"))


@pytest.mark.compiler
@pytest.mark.parametrize("place", PLACES)
def test_it_is_restored_and_goes_on(place: Place) -> None:
    wanted = make_checkpoints.adam_values()
    gradients = {name[1:]: np.full(s, 0.25, np.float32) for name, s in handmade.SHAPES.items()}
    with (
        handmade.adam(target=place.target).load(device=place.device) as step,
        handmade.adam(target=place.target).load(device=place.device) as other,
    ):
        assert step.restore(ADAM) == NOTE
        found = step.snapshot().values
        assert {p: a.tobytes() for p, a in found.items()} == {
            p: a.tobytes() for p, a in wanted.items()
        }
        other.initialize({name[1:]: wanted[name] for name in handmade.SHAPES})
        for name, value in wanted.items():
            other.variables[name] = value
        for each in (step, other):
            each.step(gradients)
        assert handmade.snapshot(step) == handmade.snapshot(other)
        assert step.global_step == 2**40 + 8


def test_every_dtype_is_read() -> None:
    tensors = decode(EVERY_DTYPE.read_bytes(), "x")
    wanted = make_checkpoints.every_dtype()
    assert set(tensors.arrays) == set(wanted)
    for name, array in tensors.arrays.items():
        assert (array.dtype, array.shape) == (wanted[name].dtype, wanted[name].shape)
        assert array.tobytes() == wanted[name].tobytes()
        assert not array.flags.writeable
    assert tensors.metadata == {"stepforge.format": "1", **NOTE}


def test_other_tools_read_it() -> None:
    wanted = make_checkpoints.every_dtype()
    found = safetensors.numpy.load_file(EVERY_DTYPE)
    assert {n: a.tobytes() for n, a in found.items()} == {n: a.tobytes() for n, a in wanted.items()}


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_it_is_still_written_so(path: Path) -> None:
    """As long as this is the newest format: older releases of the same format read it."""
    tensors = decode(path.read_bytes(), "x")
    again = encode(Tensors(tensors.arrays, tensors.metadata))
    assert b"".join(again) == path.read_bytes()
