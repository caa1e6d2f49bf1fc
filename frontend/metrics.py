"""Metrics: numbers that a training step reports, compiled into it.

    TrainOutputs(loss=loss, metrics={"accuracy": metrics.accuracy(logits, labels)})

weights and masks are those of `stepforge.frontend.losses`. Results are float32 of rank 0, or
float64 where the values are.
"""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import int32
from stepforge.frontend.errors import DTypeError, FrontendError, ShapeError
from stepforge.frontend.graph import Node
from stepforge.frontend.initializers import zeros
from stepforge.frontend.losses import check_labels, class_numbers
from stepforge.frontend.ops.op import FLOAT, check_kind
from stepforge.frontend.weighted import in_float32, reduced, shared


def mean(values: Node, *, weights: Node | None = None) -> Node:
    """sum(weights * values) / sum(weights), of values of any dtype; 0 if all weights are 0."""
    return reduced("mean", in_float32(values), weights, "mean")


def accuracy(logits: Node, labels: Node, *, weights: Node | None = None) -> Node:
    """How often the class with the largest logit is the label's.

    logits[.., classes] of floats, labels[..] of int32 (or int64). Among equal logits the first
    counts, as NumPy's argmax does; a row with NaN counts as wrong.
    """
    check_kind("accuracy", logits.dtype, FLOAT)
    if not labels.dtype.is_integer:
        hint = "targets of probabilities have no accuracy; use the class numbers"
        raise DTypeError("accuracy: labels are class numbers", got=repr(labels), hint=hint)
    if not logits.rank or not logits.shape[-1]:
        raise ShapeError("accuracy: logits have an axis of classes", got=repr(logits))
    check_labels("accuracy", logits, labels)
    right = ops.equal(_first_largest(logits), class_numbers(logits, labels))
    return mean(right, weights=weights)


def binary_accuracy(logits: Node, targets: Node, *, weights: Node | None = None) -> Node:
    """How often a logit is above 0 where the target is above 1/2, and only there.

    logits of floats, targets of any dtype and the logits' shape. NaN counts as not above.
    """
    check_kind("binary_accuracy", logits.dtype, FLOAT)
    said = ops.greater(in_float32(logits), 0.0)
    true = ops.greater(in_float32(targets), 0.5)
    return mean(ops.logical_not(ops.logical_xor(said, true)), weights=weights)


def moving_average(ctx: Context, name: str, value: Node, decay: float = 0.99) -> Node:
    """The mean of a number over the steps, where each step back counts `decay` times as much.

    value: a float of rank 0, such as the loss. After n steps that train it is

        sum(decay^(n - i) * value_i, i = 1 .. n) / sum(decay^(n - i), i = 1 .. n)

    which is the mean of all values so far at first, so nothing pulls it towards 0 (the bias
    correction of Adam). A step that does not train reports it as it is, 0 before the first.
    Variables, not trainable: `<name>/total` and `<name>/weight`, zeros.
    """
    if value.rank:
        hint = "take its mean first"
        raise ShapeError("moving_average: of one number", got=repr(value), hint=hint)
    if not 0 <= decay < 1:
        raise FrontendError("moving_average: wrong decay", expected="0 <= decay < 1", got=decay)
    new = in_float32(value)
    scope = ctx.at(name)
    total, weight = (
        scope.variable(part, (), new.dtype, initializer=zeros(), trainable=False)
        for part in ("total", "weight")
    )
    if total.path in value.graph.variable_values:
        raise FrontendError(
            f"moving_average: {scope.scope!r} has one already",
            got=f"the name {name!r} twice",
            hint="give each a name of its own",
        )
    if ctx.is_training(value.graph):
        one = value.graph.constant(1.0, new.dtype)
        for variable, last in ((total, new), (weight, one)):
            old = variable.value_graph(value.graph)
            variable.set_value_graph(decay * old + (1.0 - decay) * last)
    return shared(total.value_graph(value.graph), weight.value_graph(value.graph))


def _first_largest(x: Node) -> Node:
    """The first place of the largest element along the last axis, int32; its size for NaN."""
    last = x.rank - 1
    largest = ops.broadcast_to(ops.reduce_max(x, last), x.shape, range(last))
    places = ops.iota(x.graph, int32, x.shape, last)
    return ops.reduce_min(ops.where(ops.equal(x, largest), places, x.shape[last]), last)
