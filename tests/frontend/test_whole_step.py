"""What is decided over all gradients of a step: clipping by the global norm, unscaling, averages,
and steps that are skipped. The compiled ones are in tests/acceptance/test_whole_step.py."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from oracles import compositions
from stepforge.frontend import delete_global_step, ops
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType
from stepforge.frontend.errors import FrontendError
from stepforge.frontend.global_step import increment_counter_graph
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.initializers import zeros
from stepforge.frontend.optimizers import (
    KNOWN_OPTIMIZERS,
    Adam,
    AdamW,
    Optimizer,
    StochasticGradientDescent,
)
from stepforge.frontend.optimizers.base import Slot
from stepforge.frontend.program_json import program_to_json
from stepforge.frontend.reference import ReferenceStep
from stepforge.frontend.schedules import CosineSchedule
from stepforge.frontend.settable import Schedule, Settable
from stepforge.frontend.trace import trace
from stepforge.frontend.training import train_program
from support.numpy_steps import NumpyStep
from support.programs import SHAPES, context, draw

ALL: dict[str, Any] = {
    "clip_global_norm": 1.5,
    "loss_scale": 8.0,
    "ema_decay": 0.75,
    "skip_nonfinite": True,
}
SETTINGS: dict[str, dict[str, Any]] = {**{k: {k: v} for k, v in ALL.items()}, "all": ALL}
RATES = {"sgd": 0.1, "adam": 0.001, "adamw": 0.001}
STORMS = {2: math.nan, 3: -math.inf, 9: math.inf}
SKIPPED = "/optimizers/skipped_steps"


def reference(
    optimizer: Optimizer, params: dict[str, Any], start: Any = None, ctx: Context | None = None
) -> ReferenceStep:
    """In float64, initialized."""
    ctx = context(params) if ctx is None else ctx
    step = ReferenceStep(trace(optimizer, ctx), "float64")
    step.initialize(draw(1) if start is None else start)
    return step


def stormy(t: int, storms: dict[int, float] = STORMS) -> dict[str, Any]:
    found = draw(100 + t)
    if t in storms:
        found["b"][3] = storms[t]
    return found


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("rule", RATES)
def test_20_steps_are_those_of_numpy(rule: str, setting: str) -> None:
    params = SETTINGS[setting]
    step = reference(KNOWN_OPTIMIZERS[rule](Context()), params)
    twin = NumpyStep(rule=rule, parameters=draw(1), learning_rate=RATES[rule], **params)
    storms = STORMS if "skip_nonfinite" in params else {}
    scope = step.program.variables[0].name and f"/{KNOWN_OPTIMIZERS[rule](Context()).scope}"
    for t in range(20):
        step.step(stormy(t, storms))
        twin.step(stormy(t, storms))
        for kind, arrays in (("", twin.parameters), ("_ema", twin.ema), ("_1st_moment", twin.m)):
            for key, array in arrays.items():
                path = f"{scope}/{key}{kind}" if kind else f"/{key}"
                # Both round in float64; the evaluator's constants and f32 settings are exact.
                np.testing.assert_allclose(step.variables[path], array, rtol=1e-12, err_msg=path)
    assert step.variables["/global_step"] == twin.steps
    assert twin.skipped == len(storms)
    if storms:
        assert step.variables[SKIPPED] == twin.skipped


PEERS: dict[str, tuple[Optimizer, dict[str, Any], bool, float]] = {
    # torch divides by norm + 1e-6: half of the steps are clipped, at norms of 2 and more, each by
    # 5e-7 more than here. Adam's ratio hardly sees it; twice that covers its epsilon.
    "torch": (AdamW(learning_rate=compositions.RATE), {"skip_nonfinite": True}, True, 1e-6),
    "optax": (AdamW(learning_rate=compositions.RATE), {"skip_nonfinite": True}, True, 1e-11),
    "keras": (
        StochasticGradientDescent(learning_rate=compositions.RATE, decay=False),
        {},
        False,
        1e-11,
    ),
}


@pytest.mark.parametrize("peer", PEERS)
def test_30_steps_end_where_peers_do(peer: str) -> None:
    optimizer, params, storms, tolerance = PEERS[peer]
    common = {
        "clip_global_norm": compositions.CLIP,
        "ema_decay": compositions.DECAY,
        "loss_scale": compositions.SCALE,
    }
    names = [f"p{i}" for i in range(len(compositions.SIZES))]
    shapes = {name: (n,) for name, n in zip(names, compositions.SIZES, strict=True)}
    start = dict(zip(names, compositions.start(), strict=True))
    ctx = context({**common, **params}, shapes, "float64")
    step = ReferenceStep(trace(optimizer, ctx, loss_dtype="float64"))
    step.initialize(start)
    for t in range(compositions.STEPS):
        step.step(dict(zip(names, compositions.gradients(t, storms=storms), strict=True)))
    end = compositions.load(peer)
    for i, name in enumerate(names):
        average = step.variables[f"/{optimizer.scope}/{name}_ema"]
        np.testing.assert_allclose(step.variables[f"/{name}"], end.parameters[i], rtol=tolerance)
        np.testing.assert_allclose(average, end.averages[i], rtol=tolerance)


@pytest.mark.parametrize(
    ("sizes", "factor"),
    [
        ({"b": 0.0}, 1.0),  # a norm of 0: no epsilon is needed
        ({"b": 1e-30}, 1.0),
        ({"b": 0.5}, 1.0),
        ({"b": 2.0}, 1.5 / 2.0),
        ({"b": 3.0, "scale": 4.0}, 1.5 / 5.0),
        ({"b": math.inf}, math.nan),
        ({"b": math.nan}, math.nan),
    ],
)
def test_clip_factor(sizes: dict[str, float], factor: float) -> None:
    step = reference(
        StochasticGradientDescent(learning_rate=1.0, decay=False), {"clip_global_norm": 1.5}
    )
    before = dict(step.variables)
    gradients = {name: np.zeros(shape) for name, shape in SHAPES.items()}
    for name, size in sizes.items():
        gradients[name].flat[-1] = size
    step.step(gradients)
    for name, size in sizes.items():
        moved = np.ravel(before[f"/{name}"] - step.variables[f"/{name}"])[-1]
        np.testing.assert_allclose(moved, size * factor, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("limit", [Settable(0.0), CosineSchedule(period=4, learning_rate=0.0)])
def test_a_limit_of_0_is_off_also_when_it_can_change(limit: Any) -> None:
    step, plain = (reference(Adam(), x) for x in ({"clip_global_norm": limit}, {}))
    for t in range(3):
        step.step(stormy(t, {}))
        plain.step(stormy(t, {}))
    for name in SHAPES:
        np.testing.assert_array_equal(step.variables[f"/{name}"], plain.variables[f"/{name}"])


@pytest.mark.parametrize("scale", [2.0, Settable(2.0**15), 2.0**-24])
def test_powers_of_two_unscale_exactly(scale: Any) -> None:
    number = scale.value if isinstance(scale, Settable) else scale
    ends: list[Any] = []
    for params, factor in (({"loss_scale": scale}, number), ({}, 1.0)):
        step = ReferenceStep(trace(AdamW(), context(params)))
        step.initialize(draw(1, dtype="float32"))
        for t in range(3):
            step.step({k: x * np.float32(factor) for k, x in draw(t, dtype="float32").items()})
        ends.append(step.variables["/encoder/w"])
    np.testing.assert_array_equal(*ends)


def test_the_first_average_is_the_parameter_also_of_an_optimizer_without_counter() -> None:
    ctx = context({"ema_decay": 0.5})
    first, second = (StochasticGradientDescent(scope=x) for x in ("one", "two"))
    step = ReferenceStep(trace({"one": first, "two": second}, ctx), "float64")
    step.initialize(draw(1))
    for function in ("one", "one", "two"):
        step.step(draw(2), function)
    np.testing.assert_array_equal(step.variables["/two/b_ema"], step.variables["/b"])
    assert (step.variables["/one/step"], step.variables["/two/step"]) == (2, 1)


def test_averages_can_differ_by_scope() -> None:
    ctx = context({})
    ctx.at("encoder").set_param("ema_decay", 0.5)
    program = trace(Adam(), ctx)
    slots = [v.name for v in program.variables if v.slot == "ema"]
    assert slots == ["/AdamOptimizer/encoder/w_ema"]
    assert len(program.groups) == 2


@pytest.mark.parametrize("rule", ["adam", "sgd"])
def test_with_clip_nan_the_norm_is_that_of_what_is_left(rule: str) -> None:
    params = {"clip_nan": True, "clip_global_norm": 1.0}
    step = reference(KNOWN_OPTIMIZERS[rule](Context()), params)
    before = dict(step.variables)
    gradients = {name: np.ones(shape) for name, shape in SHAPES.items()}
    gradients["b"][:] = [3.0, math.nan, 0.0, 0.0, 4.0]
    step.step(gradients)
    # Adam takes all of b as zero: 12 + 1 ones are left. SGD uses the rest of b: 25 more.
    norm = math.sqrt(13.0 if rule == "adam" else 38.0)
    if rule == "adam":
        first = step.variables["/AdamOptimizer/encoder/w_1st_moment"]
        np.testing.assert_allclose(first, 0.1 / norm, rtol=1e-12)
    else:
        moved = before["/b"] - step.variables["/b"]
        np.testing.assert_allclose(moved, np.array([0.3, 0, 0, 0, 0.4]) / norm, rtol=1e-9)


def changed(step: ReferenceStep, gradients: Any) -> list[str]:
    before = {k: np.copy(v) for k, v in step.variables.items()}
    step.step(gradients)
    now = {k: np.asarray(v) for k, v in step.variables.items()}
    return [k for k in now if now[k].tobytes() != before[k].tobytes()]


FOLLOWING: dict[str, Any] = {
    "cosine_schedule_steps": Settable(5),
    "cosine_schedule_warmup_steps": Settable(2),
    "adam_backoff": Settable(1),
    "clip_nan": True,
}


@pytest.mark.parametrize("extra", [{}, FOLLOWING, {"loss_scale": Settable(2.0)}], ids=str)
@pytest.mark.parametrize("clip", [0.0, 1.0])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_skipped_step_changes_its_count_alone(bad: float, clip: float, extra: Any) -> None:
    params = {"skip_nonfinite": True, "clip_global_norm": clip, "ema_decay": 0.5, **extra}
    step = reference(AdamW(), params)
    for t in range(3):
        step.step(stormy(t, {}))
        assert changed(step, stormy(9, {9: bad})) == [SKIPPED]
    assert (step.variables["/global_step"], step.variables[SKIPPED]) == (3, 3)
    counters = [v for v in step.program.variables if v.role == "counter"]
    assert {(v.dtype.name, v.storage) for v in counters} == {("int32", "device")}


SCHEDULES: list[dict[str, Any]] = [
    {"cosine_schedule_steps": 7},
    {"cosine_schedule_steps": Settable(7), "cosine_schedule_warmup_steps": 3},
    {"cosine_schedule_cycles": 3, "train_last_global_step": 20},
    {"cosine_schedule_cycles": Settable(7), "train_last_global_step": 5},
    {"cosine_schedule_cycles": 3, "cosine_schedule_warmup_steps": Settable(4)},
    {"cosine_schedule_steps": -4, "train_last_global_step": 22, "adam_backoff": 6},
    {"adam_backoff": Settable(6)},
]


@pytest.mark.parametrize("params", SCHEDULES, ids=str)
def test_schedules_and_backoff_count_alike_on_the_device(params: Any) -> None:
    steps = [reference(Adam(), {**params, "skip_nonfinite": x}) for x in (False, True)]
    for t in range(25):
        for step in steps:
            step.step(stormy(t, {}))
        host, device = steps
        for path in ("/optimizers/learning_rate", "/b"):
            np.testing.assert_allclose(device.variables[path], host.variables[path], rtol=1e-12)


@pytest.mark.parametrize("last", [2_000_000_000, 1_999_999_943, -1])
def test_cycles_of_a_long_training_fit_into_32_bits(last: int) -> None:
    params = {"cosine_schedule_cycles": 1000, "train_last_global_step": last}
    for position in (0, 1, 999_999_999, 1_234_567_890, 2_000_000_001, 2**31 - 3):
        rates: list[float] = []
        for skips in (False, True):
            step = reference(Adam(), {**params, "skip_nonfinite": skips})
            step.variables["/optimizers/cosine_schedule/global_step"] = (
                np.int32(position) if skips else position
            )
            step.step(stormy(0, {}))
            rates.append(float(step.variables["/optimizers/learning_rate"]))
        np.testing.assert_allclose(rates[1], rates[0], rtol=1e-12)


@dataclass(frozen=True)
class Own(Schedule):
    """Falls with every step that it counts."""

    on_host: bool

    def node(self, ctx: Context, graph: Graph, base: float, dtype: DType) -> Node:
        if not self.on_host:
            return base / increment_counter_graph(ctx, graph, "own", dtype)
        counter = ctx.variable(
            "own", (), "int64", initializer=zeros(), trainable=False, storage="host", role="counter"
        )
        counter.set_value_graph(counter.value_graph(graph) + 1)
        return base / ops.cast(counter.value_graph(graph), dtype)


def test_a_schedule_of_ones_own_counts_where_the_optimizer_does() -> None:
    step = reference(Adam(learning_rate=Own(on_host=False)), {"skip_nonfinite": True})
    for t in range(4):
        step.step(stormy(t))
    assert step.variables["/own"] == 2
    assert step.variables["/optimizers/learning_rate"] == 0.001 / 2


def refused(optimizers: Any, ctx: Context, *messages: str) -> None:
    with pytest.raises(FrontendError) as caught:
        trace(optimizers, ctx)
    for message in messages:
        assert message in str(caught.value)


@pytest.mark.parametrize("name", ["clip_global_norm", "loss_scale", "skip_nonfinite"])
def test_what_is_of_all_variables_is_not_set_for_some(name: str) -> None:
    ctx = context({})
    ctx.at("encoder").set_param(name, ALL[name])
    messages = (f"{name!r} is one value for all variables of a step", "in the scope '/encoder'")
    refused(Adam(), ctx, *messages, "the root")


def test_what_the_host_changes_cannot_be_skipped() -> None:
    ctx = context({"skip_nonfinite": True})
    refused(Adam(learning_rate=Own(on_host=True)), ctx, "kept on the host", "'/own'")


def test_optimizers_that_share_a_counter_agree_on_skipping() -> None:
    ctx, adam = context({}), Adam()
    trace(adam, ctx)
    ctx.set_param("skip_nonfinite", True)
    refused(adam, ctx, "without skip_nonfinite already", "delete_global_step(ctx)")
    adam.clear(ctx)
    delete_global_step(ctx)
    trace(adam, ctx)
    ctx.set_param("skip_nonfinite", False)
    refused(adam, ctx, "with skip_nonfinite already", "skip_nonfinite=False in '/'")


def test_averages_need_a_slot_and_a_scope_of_their_own() -> None:
    class Own(Adam):
        slots = (Adam.slots[0], Slot("v", "ema"))

    refused(Own(), context({"ema_decay": 0.5}), "a slot of the kind 'ema' of its own")
    both = {"one": StochasticGradientDescent(), "two": StochasticGradientDescent(decay=False)}
    refused(both, context({"ema_decay": 0.5}), "would share their slots and step counter")
    trace(both, context({}))


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("clip_global_norm", -1.0, "a number of at least 0"),
        ("loss_scale", 0.0, "a number of at least 5.96046e-08"),
        ("ema_decay", 1.0, "a number of at least 0 and below 1"),
        ("ema_decay", Settable(1.5), "a number of at least 0 and below 1"),
        ("skip_nonfinite", Settable(1), "True or False"),
        ("skip_nonfinite", 1, "True or False"),
    ],
)
def test_bounds(name: str, value: Any, expected: str) -> None:
    with pytest.raises(FrontendError, match=expected):
        Context().set_param(name, value)


def test_nothing_is_added_while_all_is_off() -> None:
    off = {"clip_global_norm": 0.0, "loss_scale": 1.0, "ema_decay": 0.0, "skip_nonfinite": False}
    texts = [program_to_json(trace(AdamW(), context(params))) for params in ({}, off)]
    assert texts[0] == texts[1]


def test_a_loss_in_16_bits_keeps_small_gradients() -> None:
    """Gradients of 6e-9 vanish in float16; of a loss times 1,024 they do not."""
    moved: list[float] = []
    for scale in (1.0, 1024.0):
        ctx = Context()
        ctx.set_params({"loss_scale": scale})

        def loss(ctx: Context, x: Node) -> Node:
            w = ctx.variable("w", (4,), "float16", initializer=zeros())
            product = ops.cast(w.value_graph(x.graph) * x, "float32")
            return ops.reduce_sum(product) * 1e-4

        rule = StochasticGradientDescent(learning_rate=1024.0, decay=False)
        program = train_program(loss, ctx, rule, inputs={"x": "4xf16"})
        step = ReferenceStep(program)
        step.initialize()
        outputs = step.step({"x": np.full(4, 6e-5, np.float16)}, "train_step")
        assert float(outputs["loss"]) == 0.0
        moved.append(float(step.variables["/w"][0]))
    assert moved[0] == 0.0
    np.testing.assert_allclose(moved[1], -1024 * 6e-9, rtol=0.02)
