"""Losses: how far predictions are from targets, as one number to make small.

What all have in common:

- reduction: "mean" (over all elements), "sum", or None for one loss per element.
- weights: of the shape of the losses, or of its first axes, such as [batch]; numbers that are not
  negative, or a mask of bools. A loss counts as often as its weight says: the mean is
  sum(weights * losses) / sum(weights), and 0 when all weights are 0. (torch and Keras divide by the
  number of elements instead.) A weight of 0 hides a large loss, but not NaN or infinity.
- 16-bit floats are computed in float32, which is then the dtype of the result.

Raises ShapeError and DTypeError where predictions and targets do not belong together.
"""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.dtypes import int32, int64
from stepforge.frontend.errors import DTypeError, FrontendError, ShapeError
from stepforge.frontend.graph import Node
from stepforge.frontend.ops.op import FLOAT, check_kind
from stepforge.frontend.weighted import Reduction, in_float32, reduced


def mean_squared_error(
    predictions: Node,
    targets: Node,
    *,
    weights: Node | None = None,
    reduction: Reduction = "mean",
) -> Node:
    """(prediction - target)^2, of floats of one shape."""
    error = _error("mean_squared_error", predictions, targets)
    return reduced("mean_squared_error", error * error, weights, reduction)


def mean_absolute_error(
    predictions: Node,
    targets: Node,
    *,
    weights: Node | None = None,
    reduction: Reduction = "mean",
) -> Node:
    """|prediction - target|, of floats of one shape; its derivative at 0 is 0."""
    error = _error("mean_absolute_error", predictions, targets)
    return reduced("mean_absolute_error", abs(error), weights, reduction)


def huber(
    predictions: Node,
    targets: Node,
    *,
    delta: float = 1.0,
    weights: Node | None = None,
    reduction: Reduction = "mean",
) -> Node:
    """error^2 / 2 up to |error| = delta, and delta * (|error| - delta / 2) beyond it.

    Of floats of one shape, as torch and Keras (Huber, "Robust Estimation of a Location Parameter",
    1964).
    """
    if not delta > 0:
        raise FrontendError("huber: delta is where the line begins", expected="> 0", got=delta)
    size = abs(_error("huber", predictions, targets))
    square = ops.minimum(size, delta)
    return reduced("huber", square * (size - 0.5 * square), weights, reduction)


def binary_cross_entropy(
    logits: Node,
    targets: Node,
    *,
    weights: Node | None = None,
    reduction: Reduction = "mean",
) -> Node:
    """-(t * log(p) + (1 - t) * log(1 - p)) with p = sigmoid(logit), stable for every logit.

    targets: probabilities t, of any dtype and the logits' shape; also 0 and 1 as bools or integers.
    (Keras expects probabilities in place of logits, unless it is told.)
    """
    name = "binary_cross_entropy"
    x = _logits(name, logits, rank=0)
    t = ops.cast(targets, x.dtype)
    below = ops.less_equal(x, 0.0)
    # Of the two terms the larger: t * -x or (1 - t) * x. Their difference would cancel digits.
    linear = ops.where(below, -(x * t), x * (1.0 - t))
    rest = ops.log1p(ops.exp(ops.where(below, x, -x)))
    return reduced(name, linear + rest, weights, reduction)


def categorical_cross_entropy(
    logits: Node,
    targets: Node,
    *,
    label_smoothing: float = 0.0,
    weights: Node | None = None,
    reduction: Reduction = "mean",
) -> Node:
    """-sum(t * log_softmax(logits)) over the last axis; float logits[.., classes] give [..].

    targets: the number of the class, int32 (or int64) of shape [..], or probabilities t, floats of
        the logits' shape. A number that names no class has no probability 1: its loss is 0.
    label_smoothing: in [0, 1); t becomes (1 - label_smoothing) * t + label_smoothing / classes.
    (Keras expects probabilities in place of logits, unless it is told, and has two functions.)
    """
    name = "categorical_cross_entropy"
    x = _logits(name, logits, rank=1)
    if not 0 <= label_smoothing < 1:
        rule = f"{name}: label_smoothing is a share"
        raise FrontendError(rule, expected="0 <= label_smoothing < 1", got=label_smoothing)
    log_p = ops.log_softmax(x)
    chosen = _sparse(name, log_p, targets) if targets.dtype.is_integer else _dense(log_p, targets)
    losses = -chosen
    if label_smoothing:
        even = ops.reduce_mean(log_p, -1)
        losses = (1.0 - label_smoothing) * losses - label_smoothing * even
    return reduced(name, losses, weights, reduction)


def _error(name: str, predictions: Node, targets: Node) -> Node:
    check_kind(name, predictions.dtype, FLOAT)
    check_kind(name, targets.dtype, FLOAT)
    return in_float32(predictions) - in_float32(targets)


def _logits(name: str, logits: Node, *, rank: int) -> Node:
    check_kind(name, logits.dtype, FLOAT)
    if logits.rank < rank:
        raise ShapeError(f"{name}: logits have an axis of classes", got=repr(logits))
    return in_float32(logits)


def _dense(log_p: Node, targets: Node) -> Node:
    if not targets.dtype.is_float:
        raise DTypeError(
            "categorical_cross_entropy: targets are class numbers or probabilities",
            expected="int32 or a float",
            got=repr(targets),
        )
    return ops.reduce_sum(log_p * ops.cast(targets, log_p.dtype), -1)


def _sparse(name: str, log_p: Node, labels: Node) -> Node:
    """The log-probability of each label's class; not a product, since 0 * -inf is NaN."""
    check_labels(name, log_p, labels)
    classes = ops.iota(labels.graph, int32, log_p.shape, log_p.rank - 1)
    named = ops.broadcast_to(class_numbers(log_p, labels), log_p.shape, range(labels.rank))
    return ops.reduce_sum(ops.where(ops.equal(named, classes), log_p, 0.0), -1)


def class_numbers(logits: Node, labels: Node) -> Node:
    """The labels as int32; a wide number that names no class does not become one that does."""
    if labels.dtype != int64:
        return ops.cast(labels, int32)
    return ops.cast(ops.clip(labels, -1, logits.shape[-1] + 1), int32)


def check_labels(name: str, logits: Node, labels: Node) -> None:
    """Raises ShapeError unless there is one label for each row of logits."""
    if labels.shape != logits.shape[:-1]:
        rule = f"{name}: one label for each row of logits"
        raise ShapeError(rule, expected=logits.shape[:-1], got=repr(labels))
