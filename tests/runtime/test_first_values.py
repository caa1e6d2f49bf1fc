"""The runtime's initializers give the bits that the frontend's give."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.frontend import initializers as frontend
from stepforge.frontend.dtypes import as_dtype
from stepforge.runtime.initializers import first_value
from stepforge.runtime.manifest import Initializer, Variable

MADE = [
    frontend.zeros(),
    frontend.ones(),
    frontend.constant(0.1),
    frontend.constant(3),
    frontend.constant(True),
    frontend.uniform(-2.0, 3.0, seed=5),
    frontend.normal(1.0, 0.5, seed=-1),
    frontend.glorot_uniform(seed=2**62),
    frontend.glorot_normal(seed=0),
    frontend.he_uniform(seed=7),
    frontend.he_normal(seed=8),
]
SHAPES = [(), (1,), (0, 3), (17,), (8, 4), (3, 3, 4, 5)]


@pytest.mark.parametrize("made", MADE, ids=lambda made: made.kind)
@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int32", "bool"])
@pytest.mark.parametrize("seed", [0, 1, -3, 2**63 - 1])
def test_bits_are_the_frontends(made: frontend.Initializer, dtype: str, seed: int) -> None:
    if not dtype.startswith(("float", "bfloat")) and made.seed is not None:
        return
    mine = Initializer(made.kind, made.value, made.seed, made.arguments)
    for shape in SHAPES:
        expected = made.sample("/encoder/w", as_dtype(dtype), shape, seed)
        got = first_value(Variable("/encoder/w", "buffer", dtype, shape, initializer=mine), seed)
        assert got.dtype == expected.dtype
        assert got.shape == expected.shape
        assert got.tobytes() == expected.tobytes(), (shape, dtype)


def test_pieces_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    item = Initializer("normal", None, 3, (0.0, 1.0))
    variable = Variable("/w", "buffer", "float32", (1000,), initializer=item)
    whole = first_value(variable)
    monkeypatch.setattr("stepforge.runtime.initializers._PIECE", 96)
    np.testing.assert_array_equal(first_value(variable), whole)


def test_both_seeds_enter() -> None:
    def draw(compiled: int, given: int) -> bytes:
        item = Initializer("normal", None, compiled, (0.0, 1.0))
        variable = Variable("/w", "buffer", "float32", (4,), initializer=item)
        return first_value(variable, given).tobytes()

    assert len({draw(5, 0), draw(5, 1), draw(0, 5), draw(5, 2**32), draw(5, -1)}) == 5
    assert draw(5, -1) == draw(5, 2**64 - 1)


def test_path_and_seed_decide() -> None:
    def draw(path: str, seed: int) -> bytes:
        item = Initializer("normal", None, seed, (0.0, 1.0))
        return first_value(Variable(path, "buffer", "float32", (4,), initializer=item)).tobytes()

    assert draw("/a", 1) == draw("/a", 1)
    assert len({draw("/a", 1), draw("/b", 1), draw("/a", 2)}) == 3


def test_large_draws_have_the_right_moments() -> None:
    item = Initializer("normal", None, 3, (2.0, 0.5))
    values = first_value(Variable("/w", "buffer", "float32", (200_000,), initializer=item))
    assert abs(values.mean() - 2.0) < 0.005
    assert abs(values.std() - 0.5) < 0.005
    assert np.isfinite(values).all()
