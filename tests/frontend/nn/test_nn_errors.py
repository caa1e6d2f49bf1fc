"""What layers refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from stepforge.frontend import Context, FrontendError, Graph, Node, nn
from stepforge.frontend.errors import ContextError, DTypeError, ShapeError

LAYERS: dict[str, Callable[[Context, Node], Node]] = {
    "dense": lambda ctx, x: nn.dense(ctx, x, 3),
    "conv": lambda ctx, x: nn.conv(ctx, x, 3, 3),
    "layer_norm": nn.layer_norm,
    "rms_norm": nn.rms_norm,
    "batch_norm": nn.batch_norm,
    "multi_head_attention": lambda ctx, x: nn.multi_head_attention(ctx, x, 2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_scalars_and_integers_are_no_inputs(name: str) -> None:
    graph, ctx = Graph(), Context()
    with pytest.raises(ShapeError, match=f"{name}: the input has too few axes"):
        LAYERS[name](ctx, graph.input("x", "float32"))
    with pytest.raises(DTypeError, match=f"{name}: wrong dtype"):
        LAYERS[name](ctx, graph.input("i", "int32", (2, 3, 4)))
    assert not list(ctx), "a layer that is refused leaves no variable behind"


def test_the_message_names_the_user_s_line() -> None:
    with pytest.raises(ShapeError, match=r"test_nn_errors\.py:\d+"):
        nn.dense(Context(), Graph().input("x", "float32"), 3)


def test_a_scope_holds_one_layer() -> None:
    graph, ctx = Graph(), Context()
    x = graph.input("x", "float32", (2, 4))
    nn.dense(ctx, x, 3)
    with pytest.raises(ContextError, match="'/w' exists already, with another shape"):
        nn.dense(ctx, x, 5)


def test_convolutions() -> None:
    x = Graph().input("x", "float32", (1, 8, 8, 4))
    with pytest.raises(ShapeError, match="one size per spatial axis"):
        nn.conv(Context(), x, 4, (3,))
    for groups, features in ((3, 6), (2, 3), (0, 4)):
        with pytest.raises(ShapeError, match="groups divide the channels and the features"):
            nn.conv(Context(), x, features, 3, groups=groups)


def test_embedding() -> None:
    graph = Graph()
    with pytest.raises(ShapeError, match="a vocabulary has entries"):
        nn.embedding(Context(), graph.input("i", "int32", (2,)), 0, 3)
    with pytest.raises(DTypeError, match="int32 or int64"):
        nn.embedding(Context(), graph.input("f", "float32", (2,)), 4, 3)


def test_batch_norm_trains_on_more_than_one_value() -> None:
    graph, ctx = Graph(), Context()
    x = graph.input("x", "float32", (1, 4))
    nn.batch_norm(ctx, x)  # in evaluation it may be one
    ctx.set_training(graph, True)
    with pytest.raises(ShapeError, match="more than one value of each channel"):
        nn.batch_norm(ctx, x)


def test_attention() -> None:
    graph = Graph()
    x = graph.input("x", "float32", (2, 3, 4))
    for heads in (3, 0):
        with pytest.raises(ShapeError, match="the heads share the width"):
            nn.multi_head_attention(Context(), x, heads)
    with pytest.raises(ShapeError, match="whether it is seen"):
        nn.multi_head_attention(Context(), x, 2, mask=graph.input("m", "bool", (3, 2)))


@pytest.mark.parametrize("rate", [-0.1, 1.0, float("nan")])
def test_dropout_rates(rate: float) -> None:
    with pytest.raises(FrontendError, match="dropout: wrong rate"):
        nn.dropout(Context(), Graph().input("x", "float32", (2,)), rate)
