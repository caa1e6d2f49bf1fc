"""Host scalars and other ends of a step: tables, scalar programs, what is an argument at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import ops
from stepforge.frontend.clipping import clip_step_by_value
from stepforge.frontend.collect import collect
from stepforge.frontend.context import Context
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.graph import Graph
from stepforge.frontend.initializers import zeros
from stepforge.frontend.optimizers import Adam, AdamW, StochasticGradientDescent
from stepforge.frontend.program import EntryPoint, Program
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.resolve import DERIVED
from stepforge.frontend.settable import Settable
from stepforge.frontend.trace import trace
from stepforge.runtime import manifest
from stepforge.runtime.scalars import compile_program
from support.programs import context, draw, program

SETTABLE = {
    "adam_beta1": Settable(0.8),
    "adam_beta2": Settable(0.95),
    "adam_epsilon": Settable(1e-3),
    "adam_weight_decay": Settable(0.02),
    "adam_backoff": Settable(2),
    "clip_step_by_value": Settable(0.004),
}


def rows(entry: EntryPoint) -> list[tuple[str, str, str, int | None]]:
    return [(x.role, x.name, x.derive, x.result) for x in entry.arguments]


def table_values(
    entry: EntryPoint, values: Mapping[str, float]
) -> tuple[list[Any], dict[str, Any]]:
    """The scalar program, run by the runtime's interpreter."""
    found = entry.scalar_program
    described = manifest.ScalarProgram(found.dtype, found.rows, found.table, found.results)
    table, results = compile_program(described).run(values)
    return table, dict(results)


@pytest.mark.parametrize(
    ("traced", "passing"),
    [
        (program(Adam()), "arguments"),
        (program(AdamW(), SETTABLE), "arguments"),
        (program(AdamW(), {"adam_dtype": "float64"}), "table"),
        (program(AdamW(), {**SETTABLE, "adam_dtype": "float64"}), "table"),
        (program(AdamW(), {"cosine_schedule_cycles": 2, "adam_dtype": "float64"}), "table"),
        (program(StochasticGradientDescent(), {"cosine_schedule_steps": -2}), "arguments"),
    ],
)
def test_the_scalar_program_computes_what_the_graph_does(traced: Program, passing: str) -> None:
    (entry,) = traced.entry_points
    assert entry.scalars == passing
    host = [x for x in entry.arguments if x.storage == "host"]
    values = {v.name: v.initializer.value for v in traced.variables if v.storage == "host"}
    for step in (0, 1, 9, 123_456_789):
        now = {name: step if value is None else value for name, value in values.items()}
        inputs = {
            x.node.attributes["name"]: np.asarray(DERIVED[x.derive](now[x.name])).astype(
                "float64" if x.node.dtype.is_float else "int64"
            )
            for x in host
        }
        table, results = table_values(entry, now)
        nodes = {x.name: x.node for x in entry.results}
        wanted = evaluate([*entry.table, *(nodes[name] for name in results)], inputs, "float64")
        got = [*table, *results.values()]
        for node, value, expected in zip([*entry.table, *results], got, wanted, strict=True):
            assert value == pytest.approx(expected.item(), rel=1e-15, abs=1e-300), node
        assert results["/global_step"] == step + 1
    assert bool(entry.table) == (passing == "table")


@pytest.mark.parametrize(("scopes", "passing"), [(13, "arguments"), (14, "table")])
def test_a_step_with_many_scalars_takes_them_in_a_table(scopes: int, passing: str) -> None:
    ctx = context()
    for index in range(scopes):
        ctx.variable(f"layer{index}/w", (2,))
        ctx.at(f"layer{index}").set_param("adam_weight_decay", Settable(0.1 * index))
    traced = trace(AdamW(), ctx)
    (entry,) = traced.entry_points
    # The two bias corrections, and learning_rate * weight_decay of every group.
    assert len(traced.groups) == scopes + 1
    assert entry.scalars == passing
    assert len(entry.table) == (0 if passing == "arguments" else 2 + scopes + 1)


@pytest.mark.parametrize("count", [16, 17, 33, 65])
def test_sixteen_scalars_are_arguments_and_seventeen_a_table(count: int) -> None:
    entry = with_scalars(count)
    assert entry.scalars == ("arguments" if count == 16 else "table")
    assert len(entry.table) == (0 if count == 16 else count)
    assert [n.id for n in entry.table] == sorted(n.id for n in entry.table)


def with_scalars(count: int) -> EntryPoint:
    """A step that adds so many settable numbers to a vector."""
    ctx, graph = Context(), Graph("step")
    vector = ctx.variable("w", (4,))
    total = vector.value_graph(graph)
    for index in range(count):
        number = ctx.variable(
            f"n{index}", initializer=zeros(), trainable=False, storage="host", role="hyperparameter"
        )
        total = total + number.value_graph(graph)
    vector.set_value_graph(total)
    return collect("step", ctx, graph)


def test_constants_alone_are_no_host_scalars() -> None:
    ctx, graph = Context(), Graph("step")
    vector = ctx.variable("w", (4,))
    folded = ops.sqrt(graph.constant(2.0, "float64"))
    vector.set_value_graph(vector.value_graph(graph) * ops.cast(folded, "float32"))
    entry = collect("step", ctx, graph)
    assert (entry.scalars, entry.scalar_program.rows) == ("arguments", ())


def test_a_rank_0_parameter_is_on_the_device() -> None:
    ctx, graph = Context(), Graph("step")
    scale = ctx.variable("scale")
    scale.set_value_graph(scale.value_graph(graph) * 2.0)
    entry = collect("step", ctx, graph)
    assert entry.arguments[0].storage == "device"
    assert entry.scalar_program.results == ()


def test_a_value_that_is_not_changed_has_no_result() -> None:
    ctx, graph = Context(), Graph("step")
    kept, read = ctx.variable("kept", (2,)), ctx.variable("read", (2,), trainable=False)
    kept.set_value_graph(kept.value_graph(graph))
    ctx.add_output(graph, "sum", ops.reduce_sum(read.value_graph(graph)))
    entry = collect("step", ctx, graph)
    assert rows(entry) == [
        ("parameter", "/kept", "value", None),
        ("buffer", "/read", "value", None),
    ]
    assert [(x.role, x.name) for x in entry.results] == [("output", "sum")]


def test_after_update_may_change_variables_and_add_outputs() -> None:
    def limit(ctx: Context, graph: Graph) -> None:
        variable = ctx.get_variable("b")
        variable.set_value_graph(ops.maximum(variable.value_graph(graph), 0.0))
        ctx.add_output(graph, "largest", ops.reduce_max(variable.value_graph(graph)))

    reference = ReferenceStep(trace(Adam(learning_rate=0.5), context(), after_update=limit))
    reference.initialize(draw(1, dtype="float32"))
    outputs = reference.step(draw(2, dtype="float32"))
    assert reference.variables["/b"].min() >= 0.0
    assert outputs["largest"] == reference.variables["/b"].max()


def test_further_inputs_stand_after_the_gradients() -> None:
    ctx, graph = context(), Graph("step")
    extra = graph.input("batch", "float32", (5,))
    gradient = graph.input("gradient:/b", "float32", (5,))
    StochasticGradientDescent().update_graph_with_gradients(ctx, {"b": gradient * extra})
    entry = collect("step", ctx, graph)
    assert [(x.role, x.name) for x in entry.arguments][:3] == [
        ("parameter", "/b"),
        ("gradient", "/b"),
        ("input", "batch"),
    ]


def test_shared_settable_limits_are_computed_once() -> None:
    ctx, graph = context({"clip_step_by_value": Settable(0.5)}), Graph("step")
    for name in ("encoder/w", "b"):
        variable = ctx.get_variable(name)
        step = graph.input(f"gradient:/{name}", "float32", variable.shape)
        variable.set_value_graph(clip_step_by_value(ctx, step))
    entry = collect("step", ctx, graph)
    assert [n.op for n in entry.graph.nodes].count("greater") == 1
