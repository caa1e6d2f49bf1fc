"""The ops of a graph: one table of records, and one function for each.

`OPS[name]` has the type rule and the NumPy rule; gradient and emit rows are tables of their own,
keyed by the same names. The functions take nodes (and Python numbers, which adapt to the dtype of
the node beside them) and append to the nodes' graph.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from stepforge.frontend.ops import (
    arithmetic,
    contraction,
    indexing,
    logic,
    reduce,
    shape,
    source,
    unary,
)
from stepforge.frontend.ops.activations import (
    elu,
    gelu,
    leaky_relu,
    log_softmax,
    logsumexp,
    relu,
    silu,
    softmax,
    softplus,
)
from stepforge.frontend.ops.apply import Operand
from stepforge.frontend.ops.arithmetic import add, clip, div, maximum, minimum, mul, pow, rem, sub
from stepforge.frontend.ops.contraction import dot_general, einsum, matmul
from stepforge.frontend.ops.indexing import gather, one_hot, scatter_add, take
from stepforge.frontend.ops.logic import (
    equal,
    greater,
    greater_equal,
    is_finite,
    less,
    less_equal,
    logical_and,
    logical_not,
    logical_or,
    logical_xor,
    not_equal,
    where,
)
from stepforge.frontend.ops.op import Op
from stepforge.frontend.ops.reduce import (
    cumsum,
    reduce_all,
    reduce_any,
    reduce_max,
    reduce_mean,
    reduce_min,
    reduce_prod,
    reduce_sum,
)
from stepforge.frontend.ops.shape import (
    broadcast_to,
    concatenate,
    pad,
    reshape,
    reverse,
    slice,
    transpose,
)
from stepforge.frontend.ops.source import constant, iota
from stepforge.frontend.ops.unary import (
    abs,
    cast,
    ceil,
    cos,
    erf,
    exp,
    expm1,
    floor,
    log,
    log1p,
    neg,
    reciprocal,
    round,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    square,
    stop_gradient,
    tanh,
)

_FAMILIES = (source, arithmetic, unary, logic, shape, reduce, contraction, indexing)

OPS: Mapping[str, Op] = MappingProxyType({op.name: op for f in _FAMILIES for op in f.OPS})

__all__ = [
    "OPS",
    "Op",
    "Operand",
    "abs",
    "add",
    "broadcast_to",
    "cast",
    "ceil",
    "clip",
    "concatenate",
    "constant",
    "cos",
    "cumsum",
    "div",
    "dot_general",
    "einsum",
    "elu",
    "equal",
    "erf",
    "exp",
    "expm1",
    "floor",
    "gather",
    "gelu",
    "greater",
    "greater_equal",
    "iota",
    "is_finite",
    "leaky_relu",
    "less",
    "less_equal",
    "log",
    "log1p",
    "log_softmax",
    "logical_and",
    "logical_not",
    "logical_or",
    "logical_xor",
    "logsumexp",
    "matmul",
    "maximum",
    "minimum",
    "mul",
    "neg",
    "not_equal",
    "one_hot",
    "pad",
    "pow",
    "reciprocal",
    "reduce_all",
    "reduce_any",
    "reduce_max",
    "reduce_mean",
    "reduce_min",
    "reduce_prod",
    "reduce_sum",
    "relu",
    "rem",
    "reshape",
    "reverse",
    "round",
    "rsqrt",
    "scatter_add",
    "sigmoid",
    "sign",
    "silu",
    "sin",
    "slice",
    "softmax",
    "softplus",
    "sqrt",
    "square",
    "stop_gradient",
    "sub",
    "take",
    "tanh",
    "transpose",
    "where",
]
