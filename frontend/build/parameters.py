"""What a caller may pass as `parameters`: arrays, or names with shapes and dtypes."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from stepforge.frontend.dtypes import DType, as_dtype
from stepforge.frontend.errors import ParameterError

_TEXT = re.compile(r"^(?P<dims>(?:\d+x)*)(?P<dtype>[a-z][a-z0-9]*)$")


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """Name, shape and dtype of one parameter; its values are never stored in an artifact."""

    name: str
    shape: tuple[int, ...]
    dtype: DType


def parameter_specs(parameters: Mapping[str, Any]) -> tuple[ParameterSpec, ...]:
    """One spec per entry, in the mapping's order.

    A value may be an array (anything with `shape` and `dtype`), the text `"64x32xf32"`, a mapping
    `{"shape": [64, 32], "dtype": "float32"}`, a pair (shape, dtype), or a shape alone (float32).
    Raises ParameterError.
    """
    if not parameters:
        raise ParameterError(
            "an optimizer needs at least one parameter: expected a mapping name -> array or spec, "
            "got an empty one; check what was included and excluded"
        )
    return tuple(_spec(name, value) for name, value in parameters.items())


def _spec(name: str, value: Any) -> ParameterSpec:
    shape, dtype = _shape_and_dtype(name, value)
    if not dtype.is_float:
        raise ParameterError(
            f"parameters are floating point: {name!r} has dtype {dtype.name}; leave it out, or "
            "convert it before compiling"
        )
    if any(dimension <= 0 for dimension in shape):
        raise ParameterError(
            f"every dimension of a parameter is positive: {name!r} has shape {shape}; leave empty "
            "tensors out"
        )
    return ParameterSpec(name=name, shape=shape, dtype=dtype)


def _shape_and_dtype(name: str, value: Any) -> tuple[tuple[int, ...], DType]:
    if isinstance(value, str):
        return _parse_text(name, value)
    if isinstance(value, Mapping):
        return _parse_mapping(name, cast("Mapping[str, Any]", value))
    if isinstance(value, (tuple, list)):
        return _parse_sequence(name, cast("Sequence[Any]", value))
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise ParameterError(
            f"a parameter is an array, a shape, or a spec such as '64x32xf32': {name!r} is a "
            f"{type(value).__name__}"
        )
    return tuple(int(dimension) for dimension in value.shape), as_dtype(_dtype_name(value.dtype))


def _parse_sequence(name: str, value: Sequence[Any]) -> tuple[tuple[int, ...], DType]:
    """A shape alone, or (shape, dtype)."""
    shape, dtype = value, "float32"
    if len(value) == 2 and isinstance(value[0], (tuple, list)):
        shape, dtype = value
    return _parse_mapping(name, {"shape": shape, "dtype": dtype})


def _parse_text(name: str, text: str) -> tuple[tuple[int, ...], DType]:
    match = _TEXT.match(text)
    if match is None:
        raise ParameterError(
            f"a shape is written as dimensions and dtype joined by x, such as 64x32xf32: {name!r} "
            f"has {text!r}"
        )
    dims = tuple(int(part) for part in match["dims"].split("x") if part)
    return dims, as_dtype(match["dtype"])


def _parse_mapping(name: str, value: Mapping[str, Any]) -> tuple[tuple[int, ...], DType]:
    unknown = sorted(set(value) - {"shape", "dtype"})
    shape: Any = value.get("shape")
    if unknown or not isinstance(shape, Sequence) or isinstance(shape, str):
        raise ParameterError(
            "a parameter spec has the keys shape (a list of integers) and dtype (default float32): "
            f"{name!r} has {dict(value)!r}"
        )
    dims = cast("Sequence[Any]", shape)
    if not all(isinstance(item, int) and not isinstance(item, bool) for item in dims):
        raise ParameterError(f"dimensions are integers: {name!r} has shape {list(dims)!r}")
    return tuple(dims), as_dtype(value.get("dtype", "float32"))


def _dtype_name(dtype: Any) -> Any:
    """torch prints its dtypes as `torch.float32`; NumPy's are passed through."""
    text = str(dtype)
    return text.removeprefix("torch.") if text.startswith("torch.") else dtype
