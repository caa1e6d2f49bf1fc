"""The executable meaning of a graph: a NumPy interpreter."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from stepforge.frontend.dtypes import (
    DTYPES,
    Array,
    DType,
    DTypeLike,
    as_dtype,
    convert,
    float32,
    float64,
)
from stepforge.frontend.errors import DTypeError, EvaluateError
from stepforge.frontend.graph import Node
from stepforge.frontend.ops import OPS


def evaluate(
    outputs: Sequence[Node],
    inputs: Mapping[str, ArrayLike],
    precision: DTypeLike | None = None,
) -> list[Array]:
    """The values of `outputs`, as new arrays in the same order.

    inputs: a value for each input node that the outputs need, by name; others are ignored.
    precision: None evaluates every node in its own dtype: each op is rounded once (16-bit floats
    are computed in float32, transcendental functions and sums in float64). A float dtype evaluates
    every float node in that dtype instead, with exact constants; float inputs may then have any
    float dtype. Raises EvaluateError for a missing input or one of the wrong shape or dtype.
    Division by zero, overflow and invalid operations give IEEE results without a warning.
    """
    override = None if precision is None else as_dtype(precision)
    if override is not None and not override.is_float:
        raise DTypeError("precision must be a float dtype", got=override.name)
    order = reachable(outputs)
    uses = Counter(x for node in order for x in node.inputs)
    uses.update(outputs)
    values: dict[Node, Array] = {}
    for node in order:
        dtype = _value_dtype(node.dtype, override)
        if node.op == "input":
            values[node] = _input_value(node, inputs, dtype, override)
            continue
        values[node] = _compute(node, [values[x] for x in node.inputs], dtype)
        for x in node.inputs:
            uses[x] -= 1
            if not uses[x]:
                del values[x]  # large intermediate values live no longer than they must
    return [np.array(values[x]) for x in outputs]


def reachable(outputs: Iterable[Node]) -> list[Node]:
    """The nodes that `outputs` depend on, themselves included, operands first."""
    seen: set[Node] = set()
    pending = list(outputs)
    while pending:
        node = pending.pop()
        if node not in seen:
            seen.add(node)
            pending.extend(node.inputs)
    return sorted(seen, key=lambda node: node.id)


def _value_dtype(dtype: DType, override: DType | None) -> DType:
    return override if override is not None and dtype.is_float else dtype


def _compute(node: Node, operands: Sequence[Array], dtype: DType) -> Array:
    op = OPS[node.op]
    attributes: dict[str, Any] = dict(node.attributes)
    if "dtype" in attributes:
        attributes["dtype"] = dtype
    else:
        operands = [_widen(x, op.wide) for x in operands]
    with np.errstate(all="ignore"):
        return convert(np.asarray(op.numpy(*operands, **attributes)), dtype)


def _widen(operand: Array, wide: bool) -> Array:
    dtype = as_dtype(operand.dtype)
    if not dtype.is_float:
        return operand
    if wide:
        return convert(operand, float64)
    return convert(operand, float32) if dtype.is_half else operand


def _input_value(
    node: Node, inputs: Mapping[str, ArrayLike], dtype: DType, override: DType | None
) -> Array:
    name = node.attributes["name"]
    if name not in inputs:
        needed = "a value for every input that the outputs depend on"
        got = ", ".join(map(repr, inputs)) or "no inputs"
        raise EvaluateError(f"input {name!r} has no value", expected=needed, got=got)
    value = np.asarray(inputs[name])
    got = f"{value.dtype}{list(value.shape)}"
    if value.shape != node.shape:
        raise EvaluateError(f"input {name!r} has the wrong shape", expected=node.type, got=got)
    if _accepts(node.dtype, value.dtype, override):
        return convert(value, dtype)
    raise EvaluateError(
        f"input {name!r} has the wrong dtype",
        expected=node.type,
        got=got,
        hint=f"convert it, for example with .astype({node.dtype.name!r})",
    )


def _accepts(expected: DType, given: np.dtype[Any], override: DType | None) -> bool:
    if override is None or not expected.is_float:
        return given == expected.numpy
    return any(given == dtype.numpy for dtype in DTYPES if dtype.is_float)
