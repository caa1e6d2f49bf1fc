"""What a loss function may take and return."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any, cast

from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import TensorType
from stepforge.frontend.errors import TrainingError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.nan_tracing import NONFINITE
from stepforge.frontend.optimizers.base import Optimizer
from stepforge.frontend.scalars import host_scalars


def check_input_names(inputs: object) -> None:
    """Raises TrainingError unless inputs are keyword arguments with their types."""
    if not inputs or not isinstance(inputs, Mapping):
        raise TrainingError(
            "a training step has at least one input",
            expected='{"x": "32x64xf32"}',
            got=repr(inputs) if inputs else "none",
        )
    for name in cast("Mapping[object, object]", inputs):
        if not isinstance(name, str) or not name.isidentifier():
            hint = "they are the loss function's keyword arguments"
            raise TrainingError("inputs have names of variables", got=repr(name), hint=hint)


def check_input_types(types: Mapping[str, TensorType]) -> None:
    """Raises TrainingError for an input that has no elements: its means are 0 / 0."""
    for name, type_ in types.items():
        if any(size < 1 for size in type_.shape):
            raise TrainingError(
                f"every dimension of an input is at least 1: {name!r}",
                got=f"shape {type_.shape}",
                hint="give the number of rows of a batch, such as 32x64xf32",
            )


def check_outputs(ctx: Context, graph: Graph) -> None:
    """Raises TrainingError for an output that is an integer of host variables.

    The device gets those as floats: that of a large count would be another number.
    """
    variables = {name: ctx.find_variable(name) for name in graph.inputs if name.startswith("/")}
    inputs = [graph.inputs[k] for k, v in variables.items() if v and v.spec.storage == "host"]
    outputs = ctx.outputs(graph)
    host = host_scalars(inputs, outputs.values())
    for name, node in outputs.items():
        if node in host and node.dtype.is_integer:
            raise TrainingError(
                f"the output {name!r} is no integer of host variables alone",
                got=repr(node),
                hint='return ops.cast(x, "float32"), exact to 2^24, or read the variable at '
                "run time: step.variables[path]",
                location=node.location,
            )


def check_optimizer(optimizer: object) -> None:
    """Raises TrainingError for anything but an optimizer, as for its class."""
    if not isinstance(optimizer, Optimizer):
        expected = "one, such as AdamW()"
        raise TrainingError("a training step has an optimizer", expected=expected, got=optimizer)


def check_callable(function: Callable[..., Any], names: Iterable[str]) -> None:
    """Raises TrainingError unless a function can be called with a Context and these inputs."""
    rule = "a loss function is called with a Context, and each input by its name"
    expected = f"loss(ctx, {', '.join(names)})"
    if not callable(function):
        raise TrainingError(rule, expected=expected, got=repr(function))
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):
        return  # of a function that is not written in Python; the call will tell
    try:
        signature.bind(None, **dict.fromkeys(names))
    except TypeError as error:
        name = getattr(function, "__name__", type(function).__name__)
        raise TrainingError(
            rule,
            expected=expected,
            got=f"{name}{signature}: {error}",
            hint="name its arguments as the inputs, or the inputs as its arguments",
        ) from None


def check_named_nodes(kind: str, nodes: object, graph: Graph) -> None:
    """Raises TrainingError unless metrics or predictions are nodes of the graph, by name."""
    if not isinstance(nodes, Mapping):
        got = type(nodes).__name__
        raise TrainingError(f"{kind} are nodes by name", expected='{"name": node}', got=got)
    for name, node in cast("Mapping[object, object]", nodes).items():
        if not isinstance(name, str) or not name or name.startswith(("/", NONFINITE)):
            raise TrainingError(
                f"{kind} have names of their own",
                expected=f"a text that begins with neither '/' nor {NONFINITE!r}",
                got=repr(name),
            )
        check_of_graph(f"{kind}[{name!r}]", node, graph)


def check_of_graph(what: str, node: object, graph: Graph) -> None:
    """Raises TrainingError for anything but a node of the graph that is traced."""
    if not isinstance(node, Node):
        got = f"{type(node).__name__} {node!r}"
        hint = "for a number take x.graph.constant(number, dtype)"
        raise TrainingError(f"{what} is a node", expected="a Node", got=got, hint=hint)
    if node.graph is not graph:
        raise TrainingError(
            f"{what} is made of this call's inputs",
            expected=f"a node of {graph!r}",
            got=f"{node!r} of {node.graph!r}",
            hint="the function is called once for each entry point; keep no node between the calls",
        )
