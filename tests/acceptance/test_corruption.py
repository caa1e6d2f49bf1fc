"""Real artifacts that were damaged or compiled twice; `tests/runtime` does the rest by hand."""

import hashlib
import random
import subprocess
import sys
from collections.abc import Callable, Mapping
from typing import NoReturn

import pytest

from stepforge import frontend, runtime
from stepforge.runtime import loading

pytestmark = pytest.mark.compiler

TARGETS = ("cpu", "vulkan", "cuda", "vmvx")
FLIPS = 2_000
PARAMETERS = {"encoder/w": "33x7xf32", "encoder/b": "7xf32"}
AGAIN = f"""
import hashlib, sys
from stepforge.frontend import AdamW, compile_optimizer
for target in {TARGETS!r}:
    made = compile_optimizer(AdamW(), {PARAMETERS!r}, target=target)
    print(hashlib.sha256(made.data).hexdigest())
"""


@pytest.fixture(scope="module")
def artifacts() -> Mapping[str, bytes]:
    """Compiled before IREE is put out of reach: compiling proves each on a device."""
    return {
        target: frontend.compile_optimizer(frontend.AdamW(), PARAMETERS, target=target).data
        for target in TARGETS
    }


@pytest.fixture
def refuses(
    artifacts: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> Callable[[bytes], None]:
    """Asserts that bytes are refused, with IREE and the devices out of reach."""

    def called(*_: object) -> NoReturn:
        raise AssertionError("a damaged artifact reached IREE")

    monkeypatch.setattr(loading, "open_device", called)
    monkeypatch.setattr(loading, "Module", called)

    def check(damaged: bytes) -> None:
        with pytest.raises(runtime.ArtifactCorruptError):
            runtime.load(damaged)

    return check


@pytest.mark.parametrize("target", TARGETS)
def test_flipped_bits_are_refused(
    target: str, artifacts: Mapping[str, bytes], refuses: Callable[[bytes], None]
) -> None:
    data, generator = artifacts[target], random.Random(29)
    damaged = bytearray(data)
    for _ in range(FLIPS):
        position, bit = generator.randrange(len(data)), 1 << generator.randrange(8)
        damaged[position] ^= bit
        refuses(bytes(damaged))
        damaged[position] ^= bit
    assert bytes(damaged) == data


def test_every_flipped_bit_of_the_smallest_is_refused(
    artifacts: Mapping[str, bytes], refuses: Callable[[bytes], None]
) -> None:
    data = bytearray(min(artifacts.values(), key=len))
    for position in range(len(data)):
        for bit in range(8):
            data[position] ^= 1 << bit
            refuses(bytes(data))
            data[position] ^= 1 << bit


@pytest.mark.parametrize("target", TARGETS)
def test_truncated_and_lengthened_files_are_refused(
    target: str, artifacts: Mapping[str, bytes], refuses: Callable[[bytes], None]
) -> None:
    data = artifacts[target]
    for length in range(len(data)):
        refuses(data[:length])
    for extra in (b"\0", b"PK\x03\x04", b"\0" * 64, data):
        refuses(extra + data)
        refuses(data + extra)


def test_another_process_makes_the_same_bytes(artifacts: Mapping[str, bytes]) -> None:
    done = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    digests = [hashlib.sha256(artifacts[target]).hexdigest() for target in TARGETS]
    assert done.stdout.split() == digests
