"""Evaluating a graph in float64, together with how far a device may be off.

Running error analysis: beside each value goes a bound of the error that a device may have made on
the way to it, from the error that each of its operations is allowed. It needs to know nothing of
the optimizer, and it is tight where a result is: an element that suffers from cancellation is
allowed more than one that does not.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepforge.frontend import Node, as_dtype, float64
from stepforge.frontend.dtypes import DType, convert
from stepforge.frontend.evaluate import reachable
from stepforge.frontend.ops import OPS
from stepforge.frontend.scalars import host_scalars
from stepforge.tools.error_rules import PROPAGATION, TINY, Array

# Half a unit in the last place, relative: the error of one correctly rounded operation.
# float64 counts twice: the evaluator rounds as much as the device does.
ROUNDOFF = {"float64": 2.0**-52, "float32": 2.0**-24, "float16": 2.0**-11, "bfloat16": 2.0**-8}
# They round nothing.
EXACT = frozenset((
    "input", "neg", "abs", "sign", "floor", "ceil", "round", "maximum", "minimum", "where", "iota",
    "stop_gradient",
    "broadcast", "reshape", "transpose", "slice", "concatenate", "pad", "reverse", "gather",
    "reduce_max", "reduce_min", "rem",
))  # fmt: skip
SUMS = ("reduce_sum", "cumsum")


def _contracted(node: Node) -> int:
    axes: tuple[int, ...] = node.attributes["contract"][0]
    return math.prod(node.inputs[0].shape[axis] for axis in axes)


def _window(node: Node) -> int:
    return math.prod(node.inputs[1].shape[:-1])


#: Sums of products: how many an element is the sum of.
BILINEAR: Mapping[str, Callable[[Node], int]] = {
    "dot_general": _contracted,
    "convolution": _window,
}


@dataclass(frozen=True, slots=True)
class Accuracy:
    """What one operation of a backend may be off by, in roundoffs; 1 is correctly rounded.

    Vulkan: the specification's table (rounding direction free, division 2.5 ULP, sqrt as
    1 / inversesqrt). CUDA: sqrt is exact here, division correctly rounded. Functions that
    no backend rounds correctly get 64, which is what IREE's own tests ask of them and more.
    """

    arithmetic: float = 1.0
    division: float = 1.0
    root: float = 1.0
    functions: float = 64.0

    def of(self, op: str) -> float:
        if op == "div":
            return self.division
        if op in ("sqrt", "rsqrt"):
            return self.root
        if op in ("exp", "expm1", "log", "log1p", "sin", "cos", "tanh", "sigmoid", "erf", "pow"):
            return self.functions
        return self.arithmetic


ACCURACY: Mapping[str, Accuracy] = {
    "local": Accuracy(),
    "cuda": Accuracy(root=3.0),
    "hip": Accuracy(division=5.0, root=3.0),
    "vulkan": Accuracy(arithmetic=2.0, division=5.0, root=9.0, functions=512.0),
    "metal": Accuracy(arithmetic=2.0, division=5.0, root=9.0, functions=512.0),
}


@dataclass(frozen=True, slots=True)
class Bounded:
    """The exact value, in float64, and the largest error that a device may have in it."""

    value: Array
    error: Array


# Host scalars are computed with the C library's functions, or in float64 and rounded once.
HOST = Accuracy(functions=4.0)


def evaluate_bounded(
    outputs: Sequence[Node],
    inputs: Mapping[str, Array],
    accuracy: Accuracy,
    host_inputs: Iterable[Node] = (),
) -> list[Bounded]:
    """Values and error bounds of `outputs`; `inputs` are exact, by input name.

    What depends on `host_inputs` alone is computed on the host.
    """
    host = host_scalars(host_inputs, outputs)
    order = reachable(outputs)
    uses = Counter(x for node in order for x in node.inputs)
    uses.update(outputs)
    found: dict[Node, Bounded] = {}
    with np.errstate(all="ignore"):
        for node in order:
            allowed = HOST if node in host else accuracy
            found[node] = _evaluate(node, [found[x] for x in node.inputs], inputs, allowed)
            for x in node.inputs:
                uses[x] -= 1
                if not uses[x]:
                    del found[x]  # large values live no longer than they must
    return [found[node] for node in outputs]


def _evaluate(
    node: Node, operands: Sequence[Bounded], inputs: Mapping[str, Array], accuracy: Accuracy
) -> Bounded:
    wide = float64 if node.dtype.is_float else node.dtype
    if node.op == "input":
        given = inputs[node.attributes["name"]]
        # A float32 argument holds a number such as 0.1 rounded once.
        value = convert(np.asarray(given), wide)
        rounded = convert(value, node.dtype).astype(wide.numpy)
        return Bounded(value, np.abs(np.float64(value) - np.float64(rounded)))
    attributes: dict[str, Any] = dict(node.attributes)
    if "dtype" in attributes:
        attributes["dtype"] = wide
    values = [x.value for x in operands]
    value = convert(np.asarray(OPS[node.op].numpy(*values, **attributes)), wide)
    error = _propagated(node, operands, value)
    return Bounded(value, error + _rounding(node, operands, value, error, accuracy))


def _propagated(node: Node, operands: Sequence[Bounded], value: Array) -> Array:
    if not operands:
        return np.zeros(value.shape)
    values, errors = [x.value for x in operands], [x.error for x in operands]
    if not any(error.any() for error in errors):
        return np.zeros(value.shape)
    if node.op == "cast":
        return _cast_error(node.dtype, operands[0])
    found = PROPAGATION[node.op](values, errors, value, node.attributes)
    # 0 / 0 and the like: nothing is known, so anything is allowed.
    return np.where(np.isnan(found), np.inf, found)


def _cast_error(dtype: DType, operand: Bounded) -> Array:
    """To an integer or a bool the error is whole, if there may be one at all."""
    return operand.error if dtype.is_float else np.ceil(operand.error)


def _rounding(
    node: Node, operands: Sequence[Bounded], value: Array, error: Array, accuracy: Accuracy
) -> Array:
    """What the operation itself may add, flushed denormals included."""
    if not node.dtype.is_float or node.op in EXACT:
        return np.zeros(value.shape)
    roundoff = ROUNDOFF[node.dtype.name]
    size = np.abs(value) + error
    if node.op == "cast":
        return _cast_rounding(node, roundoff, size)
    if node.op == "stochastic_round":
        return 2.0 * roundoff * size + TINY  # to either neighbour, not to the nearest
    if node.op in ("constant", "unfolded_constant"):
        return roundoff * size * (value != convert(value, node.dtype).astype(np.float64))
    if node.op in SUMS:
        (x,) = operands
        terms = OPS[node.op].numpy(np.abs(x.value) + x.error, **node.attributes)
        return accuracy.of(node.op) * roundoff * max(1, x.value.size) * terms + TINY
    if node.op in BILINEAR:
        a, b = (np.abs(x.value) + x.error for x in operands)
        terms = np.asarray(OPS[node.op].numpy(a, b, **node.attributes))
        # Each product is rounded, and each partial sum, in whatever order.
        count = BILINEAR[node.op](node) + 1
        return accuracy.of(node.op) * roundoff * count * terms + count * TINY
    if node.op == "scatter_add":
        start, rows, added = operands
        terms = OPS[node.op].numpy(
            np.abs(start.value) + start.error, rows.value, np.abs(added.value) + added.error
        )
        return accuracy.of(node.op) * roundoff * max(1, rows.value.size) * terms + TINY
    if node.op == "reduce_prod":
        return accuracy.of(node.op) * roundoff * operands[0].value.size * size + TINY
    # Halves are computed in float32 and rounded once.
    own = accuracy.of(node.op) if not node.dtype.is_half else 1.0 + accuracy.of(node.op) / 256
    return own * roundoff * size + TINY


def _cast_rounding(node: Node, roundoff: float, size: Array) -> Array:
    (operand,) = node.inputs
    widens = operand.dtype.is_float and operand.dtype.itemsize <= node.dtype.itemsize
    same_kind = widens and as_dtype(operand.dtype) != node.dtype and not node.dtype.is_half
    exact = operand.dtype == node.dtype or same_kind or operand.dtype.kind == "bool"
    return np.zeros(size.shape) if exact else roundoff * size + TINY
