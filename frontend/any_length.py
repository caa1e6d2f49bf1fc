"""Steps of any length: one program for all models whose parameters are updated alike.

The program is traced over one flat parameter, `/*`, of a length that stands for any other. Such a
step is element-wise: each new element is computed from those at its place, and from numbers of the
host. So its parameter may be an arena of all parameters of a model, or any range of one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DTypeLike, as_dtype, float32, int8
from stepforge.frontend.errors import OptimizerError
from stepforge.frontend.evaluate import reachable
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.hyperparameters import (
    PARAM_CLIP_GLOBAL_NORM,
    PARAM_CLIP_NAN,
    PARAM_NAN_LOGGER,
    PARAM_SKIP_NONFINITE,
    PARAM_SLOT_DTYPE,
)
from stepforge.frontend.initializers import required
from stepforge.frontend.ops import OPS
from stepforge.frontend.optimizers import Optimizer
from stepforge.frontend.program import EntryPoint, Hyperparameter, Program
from stepforge.frontend.trace import trace

ANY = "*"
"""The name of the parameter that stands for all."""
_LENGTH = 16

#: Settings for which one element is not enough, and why.
_NOT_ELEMENTWISE: Mapping[str, str] = MappingProxyType(
    {
        PARAM_CLIP_GLOBAL_NORM: "the norm sums over all gradients, and IREE runs a sum over an "
        "unknown number of elements in one thread",
        PARAM_CLIP_NAN: "a gradient is dropped as a whole, by a count over one variable, and an "
        "arena holds many",
        PARAM_SKIP_NONFINITE: "a step is skipped by a count over all gradients, and IREE runs a "
        "sum over an unknown number of elements in one thread",
        PARAM_NAN_LOGGER: "it counts the non-finite values of each variable, and an arena holds "
        "many",
        PARAM_SLOT_DTYPE: "8-bit slots have one scale for each block, and how a variable is cut "
        "into blocks depends on its size",
    }
)
_HINT = "leave it out, or compile for the parameters of one model"


def trace_any_length(
    optimizers: Optimizer | Mapping[str, Optimizer],
    context: Context,
    *,
    dtype: DTypeLike = float32,
    loss_dtype: DTypeLike = float32,
) -> Program:
    """As `trace`, over one parameter of any length and of `dtype`.

    The Context holds no parameter yet, and says nothing of some parameters alone. Raises
    OptimizerError for that, and for settings that look at more than one element.
    """
    _check_context(context)
    if not as_dtype(dtype).is_float:
        raise OptimizerError(
            "parameters are floating point", expected="a float dtype", got=as_dtype(dtype).name
        )
    context.variable(ANY, (_LENGTH,), dtype, initializer=required())
    program = trace(optimizers, context, loss_dtype=loss_dtype)
    for setting in program.hyperparameters:
        _check_setting(setting)
    if program.nan_tracing:
        raise _refused(PARAM_NAN_LOGGER, "a tracer")
    for entry in program.entry_points:
        _check_entry(entry)
    return replace(program, any_length=True)


def _check_context(context: Context) -> None:
    given = [v.path for v in context.root.trainable_variables()]
    if context.scope != "/" or given:
        raise OptimizerError(
            "a step of any length gets its parameters when it is loaded",
            expected="the root of a Context without parameters",
            got=f"the scope {context.scope!r} of one with {', '.join(given) or 'none'}",
        )
    narrower = context.narrower()
    if narrower:
        raise OptimizerError(
            "a step of any length has the same hyperparameters for all parameters, whose names it "
            "does not know",
            expected="no rules by glob, and nothing set in a scope below the root",
            got=", ".join(repr(x) for x in narrower),
            hint="set them for all, or compile for the parameters of one model",
        )


def _check_setting(setting: Hyperparameter) -> None:
    name, value = setting.name, setting.value
    on = value == int8.name if name == PARAM_SLOT_DTYPE else bool(value)
    if name in _NOT_ELEMENTWISE and (on or setting.settable):
        raise _refused(name, f"{name}={value!r}")


def _refused(name: str, got: str) -> OptimizerError:
    return OptimizerError(
        f"{name} cannot be in a step of any length: {_NOT_ELEMENTWISE[name]}", got=got, hint=_HINT
    )


def _check_entry(entry: EntryPoint) -> None:
    """Every node is a number, or has one element for each of the parameter's."""
    for node in reachable(x.node for x in entry.results):
        flat = node.shape in ((), (_LENGTH,))
        if not (flat and _is_elementwise(node)):
            raise OptimizerError(
                f"the step {entry.name!r} cannot be of any length: it looks at more than one "
                "element at a time",
                expected="operations of single elements",
                got=repr(node),
                hint=_HINT,
            )
    on_device = [x for x in entry.arguments if x.storage == "device"]
    apart = [x.name for x in on_device if x.node.shape != (_LENGTH,)]
    apart += [x.name for x in entry.results if x.role != "state"]
    if apart:
        raise OptimizerError(
            f"the step {entry.name!r} cannot be of any length: it has tensors beside parameters, "
            "slots and gradients",
            got=", ".join(apart),
            hint=_HINT,
        )


def _is_elementwise(node: Node) -> bool:
    if node.op == "constant":
        return not isinstance(node.attributes["value"], tuple)
    if node.op == "broadcast":
        return not node.inputs[0].rank
    return node.op == "input" or OPS[node.op].elementwise


def of_length(program: Program, length: int) -> Program:
    """What a program of any length is for a parameter of so many elements."""
    return replace(
        program,
        entry_points=tuple(_sized(entry, length) for entry in program.entry_points),
        variables=tuple(replace(v, shape=(length,)) if v.shape else v for v in program.variables),
    )


def _sized(entry: EntryPoint, length: int) -> EntryPoint:
    graph = Graph(entry.graph.name)
    nodes: dict[Node, Node] = {}
    for node in entry.graph.nodes:
        attributes = dict(node.attributes)
        if attributes.get("shape"):
            attributes["shape"] = (length,)
        inputs = [nodes[x] for x in node.inputs]
        nodes[node] = graph.add(OPS[node.op], inputs, attributes, location=node.location)
    return replace(
        entry,
        graph=graph,
        arguments=tuple(replace(x, node=nodes[x.node]) for x in entry.arguments),
        results=tuple(replace(x, node=nodes[x.node]) for x in entry.results),
        table=tuple(nodes[x] for x in entry.table),
    )
