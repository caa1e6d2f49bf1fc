"""A layer, loss or metric in a graph of its own, with values for its inputs and variables."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend import Context, Graph, Node, evaluate, ops
from stepforge.frontend.gradient import gradient
from stepforge.frontend.verify import verify
from support.gradient_cases import differences, weighted

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Built:
    """What a function made of its inputs."""

    ctx: Context
    graph: Graph
    output: Node
    inputs: dict[str, Array]

    @property
    def values(self) -> dict[str, Array]:
        """By input name, variables too: as they were set, else as they begin; floats in float64."""
        found = {v.path: v.value for v in self.ctx if v.path in self.graph.inputs}
        return {k: _wide(v) for k, v in {**found, **self.inputs}.items()}

    def run(self, *more: Node) -> Any:
        """The output in float64, and further nodes after it, if any."""
        got = evaluate([self.output, *more], self.values, "float64")
        return got if more else got[0]

    def new(self, path: str) -> Array:
        """The new value of a variable, in float64."""
        (value,) = evaluate([self.graph.variable_values[path]], self.values, "float64")
        return value


def build(
    function: Callable[..., Node],
    *,
    training: bool = False,
    ctx: Context | None = None,
    **inputs: Any,
) -> Built:
    """function(ctx, **nodes), with an input node for each array; float64 arrays are float32 nodes.

    Variables that are ones or zeros at first get other values, which any mistake would show.
    """
    graph = Graph(getattr(function, "__name__", ""))
    context = Context() if ctx is None else ctx
    context.set_training(graph, training)
    arrays = {name: np.asarray(value) for name, value in inputs.items()}
    nodes = {
        name: graph.input(name, "float32" if x.dtype == np.float64 else x.dtype, x.shape)
        for name, x in arrays.items()
    }
    output = function(context, **nodes)
    verify(graph)
    if ctx is None:
        scatter(context)
    return Built(context, graph, output, arrays)


def scatter(ctx: Context) -> None:
    """Gives variables that begin as zeros or ones values between 0.5 and 1.5."""
    for index, variable in enumerate(ctx):
        if variable.dtype.is_float and variable.spec.initializer.kind in ("zeros", "ones"):
            draw = np.random.default_rng(index).uniform(0.5, 1.5, variable.shape)
            if variable.shape:
                variable.set_value(draw.astype(variable.dtype.numpy))


def assert_gradients(built: Built) -> None:
    """Derivatives by all float inputs and variables, against differences, to 1e-6."""
    nodes = [x for x in built.graph.inputs.values() if x.dtype.is_float]
    output = built.output if not built.output.rank else weighted([built.output])
    slopes = gradient(output, nodes)
    values = built.values
    fixed = {k: v for k, v in values.items() if v.dtype.kind != "f"}
    assert not fixed, "integer inputs are constants where gradients are tested"
    expected = differences(output, values)
    for node, got in zip(nodes, evaluate(slopes, values, "float64"), strict=True):
        name = str(node.attributes["name"])
        scale = max(1e-2, float(np.max(np.abs(expected[name]), initial=0)))
        np.testing.assert_allclose(got, expected[name], rtol=1e-6, atol=1e-7 * scale, err_msg=name)


def numbers(*shape: int, seed: int = 0, low: float = -2.0, high: float = 2.0) -> Array:
    """float64 numbers that float32 holds exactly."""
    draw = np.random.default_rng((seed, *shape)).uniform(low, high, shape)
    return draw.astype(np.float32).astype(np.float64)


def fixed(node: Node, value: Any, dtype: str) -> Node:
    """A constant beside a node."""
    return ops.constant(node.graph, np.asarray(value), dtype)


def _wide(value: Array) -> Array:
    return value.astype(np.float64) if value.dtype.kind == "f" else value
