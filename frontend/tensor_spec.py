"""How a caller may say the shape and dtype of a tensor."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from stepforge.frontend.dtypes import TensorType, as_dtype
from stepforge.frontend.errors import ParameterError

_TEXT = re.compile(r"^(?P<dims>(?:\d{1,18}x)*)(?P<dtype>[a-z][a-z0-9]*)$")


def tensor_spec(name: str, value: Any) -> TensorType:
    """The type that `value` stands for; `name` is for errors.

    An array (anything with `shape` and `dtype`), the text `"64x32xf32"`, a mapping
    `{"shape": [64, 32], "dtype": "float32"}`, a pair (shape, dtype), or a shape alone (float32).
    Raises ParameterError.
    """
    if isinstance(value, str):
        return _parse_text(name, value)
    if isinstance(value, Mapping):
        return _parse_mapping(name, cast("Mapping[str, Any]", value))
    if isinstance(value, (tuple, list)):
        return _parse_sequence(name, cast("Sequence[Any]", value))
    if not hasattr(value, "shape") or not hasattr(value, "dtype"):
        raise ParameterError(
            f"a tensor is an array, a shape, or a spec such as '64x32xf32': {name!r} is a "
            f"{type(value).__name__}"
        )
    dims = tuple(int(dimension) for dimension in value.shape)
    return TensorType(as_dtype(_dtype_name(value.dtype)), dims)


def _parse_sequence(name: str, value: Sequence[Any]) -> TensorType:
    """A shape alone, or (shape, dtype)."""
    shape, dtype = value, "float32"
    if len(value) == 2 and isinstance(value[0], (tuple, list)):
        shape, dtype = value
    return _parse_mapping(name, {"shape": shape, "dtype": dtype})


def _parse_text(name: str, text: str) -> TensorType:
    match = _TEXT.match(text)
    if match is None:
        raise ParameterError(
            f"a shape is written as dimensions and dtype joined by x, such as 64x32xf32: {name!r} "
            f"has {text!r}"
        )
    dims = tuple(int(part) for part in match["dims"].split("x") if part)
    return TensorType(as_dtype(match["dtype"]), dims)


def _parse_mapping(name: str, value: Mapping[str, Any]) -> TensorType:
    unknown = sorted(set(value) - {"shape", "dtype"})
    shape: Any = value.get("shape")
    if unknown or not isinstance(shape, Sequence) or isinstance(shape, str):
        raise ParameterError(
            "a spec has the keys shape (a list of integers) and dtype (default float32): "
            f"{name!r} has {dict(value)!r}"
        )
    dims = cast("Sequence[Any]", shape)
    if not all(isinstance(item, int) and not isinstance(item, bool) for item in dims):
        raise ParameterError(f"dimensions are integers: {name!r} has shape {list(dims)!r}")
    return TensorType(as_dtype(value.get("dtype", "float32")), tuple(dims))


def _dtype_name(dtype: Any) -> Any:
    """torch prints its dtypes as `torch.float32`; NumPy's are passed through."""
    text = str(dtype)
    return text.removeprefix("torch.") if text.startswith("torch.") else dtype
