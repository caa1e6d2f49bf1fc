"""A vector for each number of a vocabulary."""

from __future__ import annotations

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DTypeLike, float32
from stepforge.frontend.errors import ShapeError
from stepforge.frontend.graph import Node
from stepforge.frontend.initializers import Initializer, uniform


def embedding(
    ctx: Context,
    ids: Node,
    vocabulary: int,
    features: int,
    *,
    dtype: DTypeLike = float32,
    initializer: Initializer | None = None,
) -> Node:
    """The rows of a table that `ids`, int32 of any shape, name: ids[..] gives [.., features].

    An id out of range means the nearest row (see `ops.gather`). In the gradient, rows that are
    named several times get the sum.

    Variable: `w`[vocabulary, features] by `initializer` (None: uniform in +-0.05, as Keras; torch
    draws from a normal distribution of variance 1). Raises ShapeError, DTypeError.
    """
    if vocabulary < 1:
        raise ShapeError(
            "embedding: a vocabulary has entries", expected="1 or more", got=vocabulary
        )
    how = uniform(-0.05, 0.05) if initializer is None else initializer
    w = ctx.variable("w", (vocabulary, features), dtype, initializer=how)
    return ops.gather(w.value_graph(ids.graph), ids)
