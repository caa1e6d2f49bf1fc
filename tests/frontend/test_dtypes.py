"""Names of dtypes, and the conversion that rounds once."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from stepforge.frontend.dtypes import (
    DTYPES,
    DType,
    TensorType,
    as_dtype,
    bfloat16,
    bool_,
    convert,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
)
from stepforge.frontend.errors import DTypeError


@pytest.mark.parametrize("dtype", DTYPES, ids=repr)
def test_every_spelling_of_a_dtype(dtype: DType) -> None:
    for spelling in (dtype, dtype.name, dtype.short, dtype.numpy, dtype.numpy.type):
        assert as_dtype(spelling) is dtype


@pytest.mark.parametrize("wrong", ["float31", "uint8", np.uint8, "complex64", list, None])
def test_other_dtypes_are_refused(wrong: str) -> None:
    with pytest.raises(DTypeError, match="one of float64, float32, float16, bfloat16, int64"):
        as_dtype(wrong)


def test_kinds_and_sizes() -> None:
    assert [t.itemsize for t in DTYPES] == [8, 4, 2, 2, 8, 4, 1, 1]
    assert [t for t in DTYPES if t.is_float] == [float64, float32, float16, bfloat16]
    assert [t for t in DTYPES if t.is_half] == [float16, bfloat16]
    assert [t for t in DTYPES if t.is_integer] == [int64, int32, int8]


def test_tensor_type_reads_like_mlir() -> None:
    assert str(TensorType(bfloat16, (3, 4))) == "bf16[3,4]"
    assert TensorType(bool_, ()).rank == 0


def nearest_bfloat16(exact: Fraction) -> float:
    """The bfloat16 nearest to a positive rational by search, ties to the even pattern."""
    below = int(np.float32(float(exact)).view(np.uint32) >> 16)
    patterns = np.arange(below - 1, below + 3, dtype=np.uint16)
    values = patterns.view(ml_dtypes.bfloat16).astype(np.float64)
    order = sorted(
        range(4), key=lambda i: (abs(Fraction(float(values[i])) - exact), int(patterns[i]) % 2)
    )
    return float(values[order[0]])


def test_float64_to_bfloat16_rounds_once() -> None:
    """ml_dtypes goes by way of float32, which is wrong just beside the middle of two numbers."""
    halfway = 1 + np.arange(1, 256, 2) * 2.0**-8
    near = np.concatenate([halfway + d * 2.0**-50 for d in (-1, 0, 1)])
    got = convert(near, bfloat16).astype(np.float64)
    assert got.tolist() == [nearest_bfloat16(Fraction(x)) for x in near.tolist()]
    assert (convert(-near, bfloat16).astype(np.float64) == -got).all()
    assert (near.astype(ml_dtypes.bfloat16).astype(np.float64) != got).any()


def test_int64_to_bfloat16_rounds_once() -> None:
    halfway = [2**62 + k * 2**54 + d for k in range(1, 128, 2) for d in (-1, 0, 1)]
    got = convert(np.array(halfway), bfloat16).astype(np.float64)
    assert got.tolist() == [nearest_bfloat16(Fraction(x)) for x in halfway]


def test_large_and_special_values_become_bfloat16() -> None:
    values = np.array([3.4e38, 1e300, -1e300, np.inf, -np.inf, np.nan, 0.0, -0.0, 1e-320])
    got = convert(values, bfloat16).astype(np.float64)
    expected = np.array([np.inf, np.inf, -np.inf, np.inf, -np.inf, np.nan, 0.0, -0.0, 0.0])
    np.testing.assert_array_equal(got, expected)
    assert np.signbit(got[7])


def test_float_to_integer_truncates_and_saturates() -> None:
    values = np.array([1.9, -1.9, 127.5, 128.0, -128.9, -129.0, np.inf, -np.inf, np.nan])
    assert convert(values, int8).tolist() == [1, -1, 127, 127, -128, -128, 127, -128, 0]
    edges = np.array([2.0**63, -(2.0**63), 2.0**62, 1e300])
    assert convert(edges, int64).tolist() == [2**63 - 1, -(2**63), 2**62, 2**63 - 1]


def test_integer_to_narrower_integer_wraps() -> None:
    assert convert(np.array([300, -129, 5]), int8).tolist() == [44, 127, 5]
    assert convert(np.array([2**40 + 7]), int32).tolist() == [7]


def test_anything_to_bool_is_not_zero() -> None:
    values = np.array([0.0, -0.0, 1e-300, np.nan, np.inf])
    assert convert(values, bool_).tolist() == [False, False, True, True, True]
    assert convert(np.array([0, -3]), bool_).tolist() == [False, True]


def test_float16_to_bfloat16_and_back() -> None:
    finite = np.arange(2**16, dtype=np.uint16).view(np.float16)
    finite = finite[np.isfinite(finite)]
    exact = [nearest_bfloat16(Fraction(float(x))) for x in finite[finite > 0]]
    assert convert(finite[finite > 0], bfloat16).astype(np.float64).tolist() == exact
    assert np.isinf(convert(convert(np.array([1e9]), bfloat16), float16)).all()


def test_same_dtype_is_not_copied() -> None:
    array = np.ones(3, np.float32)
    assert convert(array, float32) is array
