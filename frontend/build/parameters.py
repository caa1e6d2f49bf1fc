"""What a caller may pass as `parameters`: arrays, or names with shapes and dtypes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from stepforge.frontend.dtypes import DType
from stepforge.frontend.errors import ParameterError
from stepforge.frontend.tensor_spec import tensor_spec


@dataclass(frozen=True, slots=True)
class ParameterSpec:
    """Name, shape and dtype of one parameter; its values are never stored in an artifact."""

    name: str
    shape: tuple[int, ...]
    dtype: DType


def parameter_specs(parameters: Mapping[str, Any]) -> tuple[ParameterSpec, ...]:
    """One spec per entry, in the mapping's order; values as `tensor_spec` takes them.

    Raises ParameterError.
    """
    if not parameters:
        raise ParameterError(
            "an optimizer needs at least one parameter: expected a mapping name -> array or spec, "
            "got an empty one; check what was included and excluded"
        )
    return tuple(_spec(name, value) for name, value in parameters.items())


def _spec(name: str, value: Any) -> ParameterSpec:
    found = tensor_spec(name, value)
    shape, dtype = found.shape, found.dtype
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
