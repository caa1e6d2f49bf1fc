"""Arenas that divide into equal ranges: each element in one of them, and the same steps."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.frontend import Adam, Context, compile_optimizer
from stepforge.frontend.build.artifact import Artifact
from stepforge.frontend.errors import FrontendError
from stepforge.runtime.manifest import ITEM_SIZES

pytestmark = pytest.mark.compiler

SIZES = {"a": (3, 5), "b": (7,), "c": (129,), "d": (1,), "e": (17, 31), "f": (255,), "g": (11, 3)}


@cache
def artifact(shards: int) -> Artifact:
    """Arenas of float32, and of bfloat16, whose 64 bytes are twice as many elements."""
    context = Context()
    context.set_params({"slot_dtype": "bfloat16"})
    specs = {name: (shape, "float32") for name, shape in SIZES.items()}
    return compile_optimizer(Adam(), specs, context=context, shards=shards)


def draw(seed: int) -> dict[str, Any]:
    generator = np.random.default_rng(seed)
    return {k: generator.normal(size=v).astype(np.float32) for k, v in SIZES.items()}


@pytest.mark.parametrize("shards", [1, 2, 3, 8])
def test_ranges_are_equal_and_cover_every_element_once(shards: int) -> None:
    manifest = artifact(shards).manifest
    assert (manifest.shards, len(manifest.arenas)) == (shards, 4)
    ranks = [runtime.shard_ranges(manifest, rank) for rank in range(shards)]
    for arena, *ranges in zip(manifest.arenas, *ranks, strict=True):
        assert [x.arena for x in ranges] == [arena.name] * shards
        bounds = [0, *(x.stop for x in ranges)]
        assert [x.start for x in ranges] == bounds[:-1]
        assert bounds[-1] == arena.size
        assert len({x.stop - x.start for x in ranges}) == 1
        for kept in ranges:
            assert kept.start * ITEM_SIZES[arena.dtype] % 64 == 0
        seen = {name: np.zeros(math.prod(SIZES[name[1:]]), int) for name in parameters(arena)}
        for x in ranges:
            for piece in x.pieces:
                seen[owner(piece.variable)][piece.start : piece.stop] += 1
                assert 0 <= piece.at <= x.stop - x.start - (piece.stop - piece.start)
        assert all((count == 1).all() for count in seen.values())


def parameters(arena: Any) -> list[str]:
    return [owner(name) for name in arena.variables]


def owner(path: str) -> str:
    """The parameter of a slot."""
    return "/" + path.rpartition("/")[2][0]


@pytest.mark.parametrize("shards", [2, 3, 8])
def test_steps_keep_their_bits(shards: int) -> None:
    with artifact(1).load() as one, artifact(shards).load() as other:
        for step in (one, other):
            step.initialize(draw(1))
            for t in range(3):
                step.step(draw(2 + t))
        expected, found = one.snapshot().values, other.snapshot().values
    assert all(found[path].tobytes() == value.tobytes() for path, value in expected.items())
    counted = [artifact(x).statistics["step"] for x in (1, shards)]
    assert [(x.dispatches, x.copies) for x in counted] == [(1, 0)] * 2


def test_pieces_are_where_the_variables_lie() -> None:
    """A worker's range, taken from the flat arena, is the same as what its pieces say."""
    with artifact(3).load() as step:
        step.initialize(draw(1))
        manifest, values = step.manifest, draw(1)
        arena = next(x for x in manifest.arenas if "/a" in x.variables and x.kind == "state")
        flat = step._session.state.storage.argument(arena.name, 0).array
        assert flat is not None
        for rank in range(3):
            kept = next(x for x in runtime.shard_ranges(manifest, rank) if x.arena == arena.name)
            own = flat[kept.start : kept.stop]
            for piece in kept.pieces:
                expected = values[piece.variable[1:]].reshape(-1)[piece.start : piece.stop]
                np.testing.assert_array_equal(own[piece.at :][: expected.size], expected)


def test_one_variable_alone_has_an_arena_for_shards() -> None:
    made = compile_optimizer(Adam(), {"w": "1001xf32"}, shards=7)
    assert {arena.size for arena in made.manifest.arenas} == {7 * 144}
    assert made.statistics["step"].dispatches == 1
    assert not compile_optimizer(Adam(), {"w": "1001xf32"}).manifest.arenas


@pytest.mark.parametrize("rank", [-1, 3])
def test_a_rank_that_there_is_not(rank: int) -> None:
    with pytest.raises(runtime.InputError, match=f"a rank from 0 to 2, got {rank}.*shards=3"):
        runtime.shard_ranges(artifact(3).manifest, rank)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shards": 0}, "expected: 1 to 65536"),
        ({"shards": 2.0}, "got: 2.0"),
        ({"shards": 2, "layout": "separate"}, "layout='separate' makes none"),
    ],
)
def test_shards_that_cannot_be(options: dict[str, Any], message: str) -> None:
    with pytest.raises(FrontendError, match=message):
        compile_optimizer(Adam(), {"w": "8xf32"}, **options)
