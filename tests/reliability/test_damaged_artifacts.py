"""R4: an artifact that was damaged in any way is refused, and IREE is not called."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping

import pytest

from stepforge import frontend, runtime
from stepforge.runtime.signatures import new_key_pair, signed
from support import forgeries

pytestmark = pytest.mark.compiler

TARGETS = ("cpu", "vulkan", "cuda", "vmvx")
KINDS = (*TARGETS, "signed")
PARAMETERS = {"encoder/w": "33x7xf32", "encoder/b": "7xf32"}
FLIPS, MANY_FLIPS = 2_000, 10_000
BLOCKS = 1_000
PAGE = 4096
Refuses = Callable[[bytes], None]


@pytest.fixture(scope="module")
def artifacts() -> Mapping[str, bytes]:
    """Compiled before IREE is put out of reach: compiling proves each on a device."""
    made = {
        target: frontend.compile_optimizer(frontend.AdamW(), PARAMETERS, target=target).data
        for target in TARGETS
    }
    return made | {"signed": signed("artifact", made["vmvx"], new_key_pair()[0])}


@pytest.fixture
def refuses(artifacts: Mapping[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Refuses:
    """Asserts that bytes are refused, with IREE out of reach."""
    assert artifacts
    forgeries.put_iree_out_of_reach(monkeypatch)

    def check(damaged: bytes) -> None:
        with pytest.raises(runtime.ArtifactCorruptError):
            runtime.load(damaged)

    return check


def flip_at_random(data: bytes, count: int, refuses: Refuses) -> None:
    generator, damaged = random.Random(29), bytearray(data)
    for _ in range(count):
        flip(damaged, generator.randrange(len(data)), generator.randrange(8), refuses)
    assert bytes(damaged) == data


def flip(damaged: bytearray, position: int, bit: int, refuses: Refuses) -> None:
    damaged[position] ^= 1 << bit
    refuses(bytes(damaged))
    damaged[position] ^= 1 << bit


@pytest.mark.parametrize("kind", KINDS)
def test_flipped_bits(kind: str, artifacts: Mapping[str, bytes], refuses: Refuses) -> None:
    flip_at_random(artifacts[kind], FLIPS, refuses)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_flipped_bits(kind: str, artifacts: Mapping[str, bytes], refuses: Refuses) -> None:
    flip_at_random(artifacts[kind], MANY_FLIPS, refuses)


@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_of_the_start(
    kind: str, artifacts: Mapping[str, bytes], refuses: Refuses
) -> None:
    data = bytearray(artifacts[kind])
    for position in range(512):
        for bit in range(8):
            flip(data, position, bit, refuses)


def test_every_bit_of_the_smallest(artifacts: Mapping[str, bytes], refuses: Refuses) -> None:
    data = bytearray(min(artifacts.values(), key=len))
    for position in range(len(data)):
        for bit in range(8):
            flip(data, position, bit, refuses)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_every_bit_of_every_byte(
    kind: str, artifacts: Mapping[str, bytes], refuses: Refuses
) -> None:
    data = bytearray(artifacts[kind])
    for position in range(len(data)):
        for bit in range(8):
            flip(data, position, bit, refuses)


@pytest.mark.parametrize("kind", KINDS)
def test_every_truncation_and_bytes_added(
    kind: str, artifacts: Mapping[str, bytes], refuses: Refuses
) -> None:
    data = artifacts[kind]
    for length in range(len(data)):
        refuses(data[:length])
    for extra in (b"\0", b"PK\x03\x04", b"\0" * 64, data):
        refuses(extra + data)
        refuses(data + extra)


def damage_blocks(data: bytes, count: int, refuses: Refuses) -> None:
    """Pages of zeros, as a disk leaves them, and two blocks in each other's place."""
    generator = random.Random(31)
    tried = 0
    while tried < count:
        start = generator.randrange(len(data))
        if tried % 2:
            damaged = data[:start] + bytes(min(PAGE, len(data) - start)) + data[start + PAGE :]
        else:
            size = generator.choice((16, 64, 512, 1024, PAGE))
            first, second = sorted(generator.sample(range(max(2, len(data) - size)), 2))
            second = max(second, first + size)
            a, b = data[first : first + size], data[second : second + size]
            between = data[first + size : second]
            damaged = data[:first] + b + between + a + data[second + size :]
        if damaged == data:
            continue  # zeros were zeroed, or equal blocks swapped
        refuses(damaged)
        tried += 1


@pytest.mark.parametrize("kind", KINDS)
def test_zeroed_pages_and_swapped_blocks(
    kind: str, artifacts: Mapping[str, bytes], refuses: Refuses
) -> None:
    damage_blocks(artifacts[kind], BLOCKS // 10, refuses)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many_zeroed_pages_and_swapped_blocks(
    kind: str, artifacts: Mapping[str, bytes], refuses: Refuses
) -> None:
    damage_blocks(artifacts[kind], BLOCKS, refuses)
