"""`skip_nonfinite`: a step with a bad gradient changes nothing, and is counted."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce

from stepforge.frontend import ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import int32
from stepforge.frontend.errors import OptimizerError
from stepforge.frontend.global_step import device_counter
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.learning_rate import OPTIMIZERS_SCOPE
from stepforge.frontend.nan_tracing import count_nonfinite

SKIPPED_STEPS = "skipped_steps"
"""The counter, in the scope `optimizers`: i32, on the device."""


def count_all_nonfinite(gradients: Sequence[Node]) -> Node:
    """How many elements of all gradients are NaN or infinite; a rank-0 i32.

    A left-to-right sum of one count for each gradient: bools have no place in memory on every
    device.
    """
    return reduce(ops.add, [count_nonfinite(x) for x in gradients])


def check_counter(ctx: Context, step: Node, *, skips: bool) -> None:
    """Raises OptimizerError for a counter that lives where this step cannot count."""
    if (step.dtype == int32) == skips:
        return
    raise OptimizerError(
        f"the Context has step counters {'without' if skips else 'with'} skip_nonfinite already, "
        "and all optimizers that share them agree on it",
        expected=f"skip_nonfinite={not skips}",
        got=f"skip_nonfinite={skips} in {ctx.scope!r}",
        hint="set it in the root of the Context before the first step is traced, or delete the "
        "counters: optimizer.clear(ctx), delete_global_step(ctx)",
    )


def keep_where_skipped(ctx: Context, graph: Graph, good: Node, before: Mapping[str, Node]) -> None:
    """Makes every new value in the graph the one before where the step is not `good`, and counts.

    before: new values that variables had already; others have those of the graph's inputs.
    Raises OptimizerError for a new value of the host, which computes it before the device begins.
    """
    for path, new in dict(graph.variable_values).items():
        if before.get(path) is new:
            continue
        variable = ctx.root.get_variable(path)
        if variable.spec.storage == "host":
            raise OptimizerError(
                "with skip_nonfinite the device decides what a step changes, and this is kept on "
                "the host",
                expected="variables of the device, and counters made by increment_counter_graph",
                got=repr(variable),
                hint="create it without storage='host', or leave skip_nonfinite out",
            )
        old = before[path] if path in before else variable.input(graph)
        variable.set_value_graph(ops.where(good, new, old))
    skipped = device_counter(ctx.at(OPTIMIZERS_SCOPE), SKIPPED_STEPS)
    more = ops.cast(ops.logical_not(good), int32)
    skipped.set_value_graph(skipped.value_graph(graph) + more)
