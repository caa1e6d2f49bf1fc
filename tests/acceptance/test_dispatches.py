"""A step is one dispatch, or one for each variable: nothing is copied, nothing is allocated.

For every optimizer in every setting that is point-wise. A setting that looks at a whole gradient
adds the dispatches of that reduction, and no more.
"""

import math
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from stepforge.frontend import KNOWN_OPTIMIZERS, Context, Settable, trace
from stepforge.frontend.emit import emit
from stepforge.passes import FunctionStatistics, Layout, Statistics, bindings, compile_module
from stepforge.passes.bindings import ir
from stepforge.passes.compile import stream_statistics
from stepforge.passes.pipeline import run_pipeline
from stepforge.tools.parameters import read_parameters

pytestmark = pytest.mark.compiler

Shapes = Mapping[str, tuple[int, ...]]

POINTWISE: Mapping[str, Mapping[str, Any]] = {
    "default": {},
    "weight_decay": {"adam_weight_decay": 0.05},
    "clip_by_value": {"clip_step_by_value": 5e-4},
    "backoff": {"adam_backoff": 3},
    "cosine": {"cosine_schedule_steps": 100, "cosine_schedule_warmup_steps": 5},
    "settable": {
        "learning_rate": Settable(0.01),
        "adam_beta1": Settable(0.8),
        "adam_beta2": Settable(0.99),
        "adam_epsilon": Settable(1e-6),
        "adam_weight_decay": Settable(0.01),
        "adam_backoff": Settable(2),
        "clip_step_by_value": Settable(1e-3),
    },
}
REDUCING: Mapping[str, Mapping[str, Any]] = {
    "clip_nan": {"clip_nan": True},
    "nanlogger": {"nanlogger": True},
    "both": {"clip_nan": True, "nanlogger": True},
}
WHOLE: Mapping[str, tuple[Mapping[str, Any], int, int]] = {
    # What all gradients decide together: settings; sums over each gradient, further dispatches.
    "averages": ({"ema_decay": 0.9, "loss_scale": 8.0}, 0, 0),
    "clip_global_norm": ({"clip_global_norm": 1.0}, 1, 1),
    # One dispatch of scalars before the updates, one for the counters.
    "skip": ({"skip_nonfinite": True}, 1, 2),
    "all": (
        {
            "clip_global_norm": Settable(1.0),
            "loss_scale": Settable(8.0),
            "ema_decay": 0.9,
            "skip_nonfinite": True,
        },
        1,
        2,
    ),
}
ONE: Shapes = {"w": (127, 129)}
THREE: Shapes = {"encoder/kernel": (64, 32), "encoder/bias": (32,), "scale": ()}
# Sums of one level, of two, and of two with a rest.
SUMMED: Shapes = {"short": (16_384,), "long": (16_385,), "prime": (65_537,)}

LONGEST_LOOP, SHORTEST_PART = 16_384, 64


def sum_dispatches(shape: tuple[int, ...]) -> int:
    """Parts and their sum; beyond the longest loop without a good divisor, the rest as well."""
    terms = math.prod(shape)
    if terms <= LONGEST_LOOP:
        return 1
    even = any(terms % part == 0 for part in range(SHORTEST_PART, LONGEST_LOOP + 1))
    return 2 if even else 3


def sums(optimizer: str, setting: str) -> int:
    """How many sums over each gradient: SGD keeps old elements where clip_nan zeroes gradients."""
    return ("nanlogger" in REDUCING[setting]) + (
        "clip_nan" in REDUCING[setting] and optimizer != "sgd"
    )


def module_text(optimizer: str, settings: Mapping[str, Mapping[str, Any]], shapes: Shapes) -> str:
    """The logical module with an entry point for each setting."""
    entries = {}
    for name, params in settings.items():
        seen = Context()
        seen.set_params(params)
        # Settable ones have a variable each: their own scope keeps entry points apart.
        entries[name] = KNOWN_OPTIMIZERS[optimizer](seen, scope=name)
    context = Context()
    for name, shape in shapes.items():
        context.variable(name, shape, "float32")
    return emit(trace(entries, context))


@cache
def counted(text: str, layout: Layout = "packed") -> Statistics:
    """Settings that an optimizer ignores give equal modules, which are counted once."""
    return stream_statistics(text, "cpu", layout=layout)


def assert_only_dispatches(steps: Mapping[str, FunctionStatistics], dispatches: int) -> None:
    for name, step in steps.items():
        assert step.dispatches == dispatches, name
        assert (step.copies, step.fills, step.transient_bytes) == (0, 0, 0), name
        assert not step.allocates, name
        assert (step.submissions, step.waits, step.late_reads) == (1, 0, 0), name


@pytest.mark.parametrize("layout", ["packed", "separate"])
@pytest.mark.parametrize(("target", "shapes"), [("cpu", ONE), ("cpu", THREE), ("vulkan", THREE)])
@pytest.mark.parametrize("optimizer", KNOWN_OPTIMIZERS)
def test_small_models(optimizer: str, target: str, shapes: Shapes, layout: Layout) -> None:
    if shapes is ONE and layout == "packed":
        return  # the same module
    text = module_text(optimizer, POINTWISE, shapes)
    found = compile_module(text, target, layout=layout).statistics
    steps = {name: step for name, step in found.functions.items() if name != "self_test"}
    assert list(steps) == list(POINTWISE)
    assert_only_dispatches(steps, 1 if layout == "packed" else len(shapes))
    # A GPU's self-test, which runs once when the module is loaded, returns new tensors.
    assert found.imports_allocation is ("self_test" in found.functions)


@pytest.mark.parametrize("optimizer", KNOWN_OPTIMIZERS)
def test_reductions_of_small_models(optimizer: str) -> None:
    found = counted(module_text(optimizer, REDUCING, SUMMED))
    for name in REDUCING:
        step = found[name]
        each = sums(optimizer, name)
        added = sum(each * sum_dispatches(shape) for shape in SUMMED.values())
        # What zeroes a gradient is a number of its own variable, so such updates stay apart, and
        # with them those of the other entry points.
        assert step.dispatches == (1 if optimizer == "sgd" else len(SUMMED)) + added, name
        assert (step.copies, step.fills, step.waits, step.late_reads) == (0, 0, 0, 0), name


@pytest.mark.parametrize("setting", WHOLE)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_whole_steps(optimizer: str, setting: str) -> None:
    params, sums_of_each, further = WHOLE[setting]
    text = whole_text(optimizer, params, SUMMED)
    step = compile_module(text, "cpu", layout="separate").statistics["step"]
    added = sums_of_each * sum(sum_dispatches(shape) for shape in SUMMED.values()) + further
    assert step.dispatches == len(SUMMED) + added
    assert (step.copies, step.fills, step.waits, step.late_reads) == (0, 0, 0, 0)
    # Partial sums, and the scalars: nothing of a gradient's size.
    assert (step.transient_bytes or 0) <= 4 * 65_537 // SHORTEST_PART + 64 * (len(SUMMED) + 8)


def whole_text(optimizer: str, params: Mapping[str, Any], shapes: Shapes) -> str:
    context = Context()
    context.set_params(params)
    for name, shape in shapes.items():
        context.variable(name, shape, "float32")
    return emit(trace(KNOWN_OPTIMIZERS[optimizer](context), context))


@pytest.mark.parametrize("setting", WHOLE)
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_whole_steps_read_gradients_twice_and_all_else_once(optimizer: str, setting: str) -> None:
    params, sums_of_each, _ = WHOLE[setting]
    module = bindings.parse(whole_text(optimizer, params, THREE))
    run_pipeline(module, layout="separate", stop_after="alias-state")
    (function,) = bindings.functions(module)
    loops = 0
    for argument, attributes in zip(
        function.arguments, bindings.argument_attributes(function), strict=True
    ):
        role = bindings.text(attributes["stepforge.role"])
        if role in ("parameter", "slot", "gradient"):
            reads = readers(argument)
            assert len(reads) == (1 + sums_of_each if role == "gradient" else 1), str(attributes)
            loops += role == "parameter"
    assert loops == len(THREE)


def readers(value: ir.Value) -> list[ir.Operation]:
    """The operations that read a tensor, or another view of it."""
    found = list[ir.Operation]()
    for op in dict.fromkeys(bindings.users(value)):
        is_view = op.name in ("tensor.collapse_shape", "tensor.expand_shape")
        found.extend(readers(op.results[0]) if is_view else [op])
    return found


@pytest.fixture(scope="module")
def minilm_shapes(minilm_parameters: Path) -> Shapes:
    specs = read_parameters(minilm_parameters).specs
    shapes = {name: tuple(spec["shape"]) for name, spec in specs.items() if isinstance(spec, dict)}
    assert len(shapes) == len(specs) == 103
    return shapes


@pytest.mark.minilm
@pytest.mark.parametrize("setting", [name for name in POINTWISE if name != "default"])
@pytest.mark.parametrize("optimizer", KNOWN_OPTIMIZERS)
def test_minilm(optimizer: str, setting: str, minilm_shapes: Shapes) -> None:
    text = module_text(optimizer, {"step": POINTWISE[setting]}, minilm_shapes)
    assert_only_dispatches(counted(text).functions, 1)


@pytest.mark.minilm
def test_minilm_in_tensors_of_its_own(minilm_shapes: Shapes) -> None:
    text = module_text("adamw", {"step": {}}, minilm_shapes)
    assert_only_dispatches(counted(text, "separate").functions, len(minilm_shapes))


@pytest.mark.minilm
@pytest.mark.parametrize("setting", ["clip_nan", "nanlogger"])
def test_reductions_of_minilm(setting: str, minilm_shapes: Shapes) -> None:
    step = counted(module_text("rmsprop", {"step": REDUCING[setting]}, minilm_shapes))["step"]
    added = sum(sum_dispatches(shape) for shape in minilm_shapes.values())
    # What zeroes a gradient is a number of its own variable, so such updates stay apart.
    updates = 1 if setting == "nanlogger" else len(minilm_shapes)
    assert step.dispatches == updates + added
    assert (step.copies, step.fills, step.waits, step.late_reads) == (0, 0, 0, 0)


IN_BLOCKS: Shapes = {"w": (64, 256), "odd": (67, 201)}


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize("optimizer", ["adamw", "adamax", "rmsprop"])
def test_slots_in_blocks(optimizer: str, drawn: bool) -> None:
    """On processors the maxima of blocks are part of the update, elsewhere they are apart."""
    text = whole_text(optimizer, {"slot_dtype": "int8", "stochastic_rounding": drawn}, IN_BLOCKS)
    assert_only_dispatches(counted(text).functions, len(IN_BLOCKS))
    elsewhere = stream_statistics(text, "vulkan:llvmpipe")["step"]
    assert elsewhere.dispatches > len(IN_BLOCKS)
    assert (elsewhere.copies, elsewhere.late_reads) == (0, 0)
