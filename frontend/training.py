"""`train_program`: a model's loss, its gradients and the update, as one Program."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from stepforge.frontend import ops
from stepforge.frontend.accumulation import (
    accumulate,
    accumulated,
    begin_accumulation,
    begin_anew,
    check_steps,
)
from stepforge.frontend.batch_sizes import (
    check_same_for_each_size,
    sized_types,
    takes_batches,
)
from stepforge.frontend.collect import collect
from stepforge.frontend.context import Context
from stepforge.frontend.describe import groups
from stepforge.frontend.dtypes import TensorType
from stepforge.frontend.entry_names import ACCUMULATE, EVALUATE, PREDICT, TRAIN_STEP
from stepforge.frontend.errors import TrainingError
from stepforge.frontend.evaluate import reachable
from stepforge.frontend.first_values import with_initialize
from stepforge.frontend.gradient import gradient
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.optimizers.base import (
    Optimizer,
    loss_compute_dtype,
    variables_behind,
)
from stepforge.frontend.program import EntryPoint, Group, Program
from stepforge.frontend.trace import AfterUpdate, check_optimizers, program_of
from stepforge.frontend.training_checks import (
    check_callable,
    check_named_nodes,
    check_of_graph,
    check_optimizer,
    check_outputs,
)
from stepforge.frontend.variables import Variable

LOSS = "loss"


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainOutputs:
    """What a loss function may return in place of the loss alone.

    loss: a float of rank 0. metrics: by name, returned by `train_step` and `evaluate`.
    predictions: by name, returned by `predict`, which takes only the inputs that they need.
    """

    loss: Node
    metrics: Mapping[str, Node] = field(default_factory=dict[str, Node])
    predictions: Mapping[str, Node] = field(default_factory=dict[str, Node])


LossFunction: TypeAlias = "Callable[..., Node | TrainOutputs]"
"""Called as `function(ctx, **inputs)`, with a Node for each input."""


def train_program(
    loss_function: LossFunction,
    ctx: Context,
    optimizer: Optimizer,
    *,
    inputs: Mapping[str, Any],
    batch_sizes: Sequence[int] | None = None,
    accumulate_steps: int = 1,
    after_update: AfterUpdate | None = None,
) -> Program:
    """The whole training step of a model: entry points `train_step`, `evaluate`, `predict` and
    `initialize` (`with_initialize`).

    loss_function: called as `function(ctx, **inputs)` for each entry point, in a graph of its own;
        it makes the model's variables in `ctx`, and `ctx.is_training(graph)` tells it whether it
        trains. It returns the loss, or TrainOutputs.
    inputs: name -> array, (shape, dtype), "32x64xf32"; the batch dimension is part of the shape.
    batch_sizes: of inputs whose leading dimension is `?` (or None), such as "?x64xf32", the sizes
        that are served. The largest has the entry points of plain names, one of 8 rows those called
        `train_step_b8` and so on. All share the variables.
    accumulate_steps: above 1 there is an entry point `accumulate`, which adds the gradients of a
        micro-batch up; `train_step` takes the mean over all of them. The number is settable.
    after_update: called with the Context and the graph after the update, as in `trace`.

    All trainable variables that the loss depends on are updated; frozen ones (`ctx.freeze()`), and
    those only behind `stop_gradient`, get neither a gradient nor slots. Raises FrontendError.
    """
    check_steps(ctx, accumulate_steps)
    sized = sized_types(inputs, batch_sizes)
    check_callable(loss_function, inputs)
    check_optimizer(optimizer)
    entries: list[EntryPoint] = []
    first: list[EntryPoint] = []
    described: list[Group] = []
    for suffix, types in sized.items():
        made, found = _entry_points(
            loss_function, ctx, optimizer, types, suffix, accumulate_steps, after_update
        )
        if not suffix:
            first, described = made, found
        check_same_for_each_size(made, first, suffix)
        entries.extend(entry for entry in made if not suffix or takes_batches(entry, sized))
    return with_initialize(program_of(ctx, entries, described, optimizer.formula))


def _entry_points(
    loss_function: LossFunction,
    ctx: Context,
    optimizer: Optimizer,
    types: Mapping[str, TensorType],
    suffix: str,
    accumulate_steps: int,
    after_update: AfterUpdate | None,
) -> tuple[list[EntryPoint], list[Group]]:
    """The entry points of one batch size, and their groups of hyperparameters."""
    entries: list[EntryPoint] = []
    graph, made = _traced(TRAIN_STEP + suffix, loss_function, ctx, types, training=True)
    _check_inputs(graph, made, types)
    chosen = _chosen(ctx, made.loss)
    check_optimizers({TRAIN_STEP: optimizer}, ctx, {TRAIN_STEP: chosen})
    found = _gradients(optimizer, ctx, made.loss, chosen)
    if accumulate_steps > 1:
        begin_accumulation(ctx, chosen, accumulate_steps)
        found = accumulated(ctx, graph, found)
    # A skipped step leaves the model's own state, such as running means, as it was, too.
    optimizer.update_graph_with_gradients(ctx, found, made.loss.dtype, before={})
    if accumulate_steps > 1:
        begin_anew(ctx, graph, chosen)
    if after_update is not None:
        after_update(ctx, graph)
    _add_outputs(ctx, graph, _reported(made))
    entries.append(collect(TRAIN_STEP + suffix, ctx, graph, scalars="table"))
    if accumulate_steps > 1:
        graph, made = _traced(ACCUMULATE + suffix, loss_function, ctx, types, training=True)
        accumulate(ctx, graph, _gradients(optimizer, ctx, made.loss, chosen))
        _add_outputs(ctx, graph, _reported(made))
        entries.append(collect(ACCUMULATE + suffix, ctx, graph, scalars="table"))
    for name in (EVALUATE, PREDICT):
        graph, made = _traced(name + suffix, loss_function, ctx, types, training=False)
        _check_unchanged(name, graph)
        outputs = _reported(made) if name == EVALUATE else made.predictions
        if outputs:
            _add_outputs(ctx, graph, outputs)
            entries.append(collect(name + suffix, ctx, graph, unused_inputs=False, scalars="table"))
    described = groups(TRAIN_STEP, optimizer, ctx, chosen, loss_compute_dtype(made.loss.dtype))
    return entries, list(described)


def _traced(
    name: str,
    loss_function: LossFunction,
    ctx: Context,
    types: Mapping[str, TensorType],
    *,
    training: bool,
) -> tuple[Graph, TrainOutputs]:
    graph = Graph(name)
    ctx.set_training(graph, training)
    nodes = {key: graph.input(key, type_.dtype, type_.shape) for key, type_ in types.items()}
    outputs = _outputs(loss_function(ctx, **nodes))
    loss = outputs.loss
    check_of_graph("the loss", loss, graph)
    check_named_nodes("metrics", outputs.metrics, graph)
    check_named_nodes("predictions", outputs.predictions, graph)
    if loss.rank or not loss.dtype.is_float:
        raise TrainingError(
            "a loss is one float",
            expected="rank 0 and a float dtype",
            got=repr(loss),
            hint="take the mean over the batch: ops.reduce_mean(x)",
        )
    return graph, outputs


def _outputs(made: object) -> TrainOutputs:
    if isinstance(made, Node):
        return TrainOutputs(loss=made)
    if isinstance(made, TrainOutputs):
        return made
    rule = "a loss function returns the loss, a Node, or TrainOutputs"
    raise TrainingError(rule, got=type(made).__name__)


def _reported(made: TrainOutputs) -> dict[str, Node]:
    if LOSS in made.metrics:
        raise TrainingError("the loss is reported already", got=f"a metric called {LOSS!r}")
    return {LOSS: made.loss, **made.metrics}


def _add_outputs(ctx: Context, graph: Graph, outputs: Mapping[str, Node]) -> None:
    for name, node in outputs.items():
        ctx.add_output(graph, name, node)
    check_outputs(ctx, graph)


def _check_inputs(graph: Graph, made: TrainOutputs, types: Mapping[str, TensorType]) -> None:
    used = set(reachable([made.loss, *made.metrics.values(), *graph.variable_values.values()]))
    unused = [name for name in types if graph.inputs[name] not in used]
    if unused:
        raise TrainingError(
            "the loss and the metrics use every input",
            got=f"no use of {', '.join(unused)}",
            hint="leave it out",
        )


def _check_unchanged(name: str, graph: Graph) -> None:
    if graph.variable_values:
        raise TrainingError(
            f"{name} changes no variable",
            got=f"a new value of {', '.join(graph.variable_values)}",
            hint="set it only if ctx.is_training(graph)",
        )


def _chosen(ctx: Context, loss: Node) -> list[Variable]:
    """The variables to update: trainable ones that the loss depends on."""
    chosen = variables_behind(ctx, loss.graph, loss)
    if not chosen:
        raise TrainingError(
            "there is nothing to train: the loss depends on no trainable variable",
            got=f"{sum(1 for _ in ctx.root)} variables",
            hint="make them with ctx.variable(...) in the loss function, unfreeze some, and let "
            "them reach the loss without stop_gradient",
        )
    return chosen


def _gradients(
    optimizer: Optimizer, ctx: Context, loss: Node, chosen: list[Variable]
) -> dict[str, Node]:
    """Of the loss, times `loss_scale`."""
    wrt = [variable.input(loss.graph) for variable in chosen]
    wide = ops.cast(loss, loss_compute_dtype(loss.dtype))
    found = gradient(optimizer.scale_loss(ctx, wide), wrt)
    return {v.path: node for v, node in zip(chosen, found, strict=True)}
