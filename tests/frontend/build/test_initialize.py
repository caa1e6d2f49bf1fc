"""`initialize` of training artifacts: the host's first values, within bounds that are derived.

One unit here is 2^-23 of a value: twice what one correctly rounded operation may be off by. Vulkan
leaves the direction of a rounding open, so each of its operations counts for one unit, not a half.

- uniform, base 0: rounding of the scale (1/2), the product (1), the host's own rounding (1/2): 2.
- uniform otherwise, in units of the largest of |low|, |high| and high - low: of low (1/2), scale
  (1/2), product (1), sum (1), the host's (1/2): 3.5.
- normal, of the distance from the mean: ln (2; EXPANDED says 1.6) halved by the root (1), the root
  (1/2, Vulkan: 4.5), 2 pi and its product in the angle (1, 1.5), whose relative error no sine of a
  quarter turn enlarges, the sine (3.5), the product (1/2, 1), the deviation (1/2) and its product
  (1/2, 1), the host's (1/2): 8, on Vulkan 13.5. A mean adds its own rounding and that of the sum:
  2 of the larger of mean and value. Where the cosine is 0 the host's is 1e-16.
- 16-bit floats round the same numbers once more: to the same or a neighbouring number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge.frontend import (
    AdamW,
    Context,
    Node,
    StochasticGradientDescent,
    compile_train_step,
    initializers,
    ops,
    train_program,
)
from stepforge.frontend.build import Artifact
from stepforge.frontend.build.in_place_check import host_values
from stepforge.frontend.initializers import Initializer
from stepforge.runtime.container import read_artifact
from stepforge.runtime.executor import Module
from stepforge.runtime.initializers import first_value
from stepforge.runtime.loading import load_module
from stepforge.runtime.manifest import Function, Variable
from stepforge.runtime.scalars import evaluate_scalars

pytestmark = pytest.mark.compiler

Array = NDArray[Any]
Table = Mapping[str, tuple[Initializer, str, tuple[int, ...]]]

UNIT, TINIEST = 2.0**-23, 1e-15
SEEDS = (0, 7, -1, 2**62 + 3)
PLACES = ["cpu", pytest.param("vulkan", marks=pytest.mark.vulkan), "vmvx"]
PLAIN: Table = {
    "u": (initializers.uniform(), "float32", (7, 11)),
    "u2": (initializers.uniform(-2.0, 3.0, seed=7), "float32", (7, 11)),
    "symmetric": (initializers.uniform(-0.25, 0.25), "float32", (300,)),
    "n": (initializers.normal(1.0, 0.5), "float32", (64, 33)),
    "n2": (initializers.glorot_normal(seed=2**62), "float32", (64, 33)),
    "s": (initializers.normal(), "float32", ()),
    "c": (initializers.constant(0.1), "float32", (5,)),
    "o": (initializers.ones(), "float32", (5,)),
    "empty": (initializers.normal(), "float32", (0, 3)),
    "given": (initializers.required(), "float32", (3,)),
    "count": (initializers.constant(-7), "int32", (3,)),
    "step": (initializers.zeros(), "int32", ()),
}
TRAINED: Table = {
    "g": (initializers.glorot_uniform(seed=-3), "float32", (64, 33)),
    "g2": (initializers.he_uniform(), "float32", (64, 33)),
}
WIDTHS: Table = {
    "half": (initializers.he_normal(), "float16", (40, 21)),
    "brain": (initializers.uniform(-1.0, 2.0), "bfloat16", (40, 21)),
    "brain_c": (initializers.constant(0.1), "bfloat16", (40, 21)),
    "double": (initializers.normal(0.5, 2.0), "float64", (40, 21)),
    "double_u": (initializers.glorot_uniform(), "float64", (40, 21)),
    "double_c": (initializers.constant(0.1), "float64", (9,)),
    "long": (initializers.constant(2**40 + 1), "int64", (9,)),
    "byte": (initializers.constant(-3), "int8", (9,)),
    "flag": (initializers.ones(), "bool", (9,)),
}


@cache
def compiled(target: str, wide: bool = False) -> Artifact:
    """A step that trains two matrices, and reads all variables of a table."""
    table = {**(WIDTHS if wide else PLAIN), **TRAINED}

    def loss(ctx: Context, x: Node) -> Node:
        total = ops.reduce_sum(x)
        for name, (first, dtype, shape) in table.items():
            trained = name in TRAINED
            made = ctx.variable(name, shape, dtype, initializer=first, trainable=trained)
            total = total + ops.reduce_sum(ops.cast(made.value_graph(x.graph), "float32") * 1e-3)
        return total

    return compile_train_step(loss, AdamW(), inputs={"x": "4xf32"}, target=target)


@cache
def module(target: str, wide: bool = False) -> Module:
    return load_module(read_artifact(compiled(target, wide).data))


def function_of(made: Artifact, name: str) -> Function:
    return next(f for f in made.manifest.functions if f.name == name)


def words(seed: int) -> Array:
    return np.array([seed % 2**32, (seed >> 32) % 2**32], np.uint32).view(np.int32)


def off(variable: Variable, got: Array, seed: int, rounding: float) -> float:
    """The worst element's distance from the host's value, as a part of the bound."""
    expected = first_value(variable, seed)
    assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
    described = variable.initializer
    first = Initializer(described.kind, described.value, described.seed, described.arguments)
    if first.fill is not None:
        return 0.0 if np.array_equal(got, expected) else np.inf
    kind, low, high = first.distribution(variable.shape)
    exact, value = expected.astype(np.float64), got.astype(np.float64)
    if kind == "uniform" and (low == 0.0 or low == -high):
        bound = 2.0 * np.abs(exact)
    elif kind == "uniform":
        bound = np.full(exact.shape, 3.5 * max(abs(low), abs(high), high - low))
    else:
        bound = rounding * np.abs(exact - low)
        bound = bound + (2.0 * np.maximum(np.abs(exact), abs(low)) if low else 0.0)
    bound = bound * UNIT + TINIEST * (high if kind == "normal" else 0.0)
    return float(np.max(np.abs(value - exact) / np.maximum(bound, 1e-300), initial=0.0))


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("target", PLACES)
def test_values_are_the_hosts(target: str, seed: int) -> None:
    made = compiled(target)
    results = function_of(made, "initialize").results
    variables = {v.name: v for v in made.manifest.variables}
    found = module(target).call("initialize", [words(seed)])
    for result, got in zip(results, found, strict=True):
        normal = 13.5 if target == "vulkan" else 8.0
        array = np.asarray(got)
        assert off(variables[result.name], array, seed, normal) <= 1.0, result.name
        if result.name in ("/u", "/symmetric"):  # the scale is a power of two, so nothing rounds
            np.testing.assert_array_equal(array, first_value(variables[result.name], seed))


def test_other_widths() -> None:
    """float64 is computed as such; 16 bits round the float32 number once more."""
    made = compiled("cpu", wide=True)
    variables = {v.name: v for v in made.manifest.variables}
    found = module("cpu", wide=True).call("initialize", [words(7)])
    given = zip(function_of(made, "initialize").results, found, strict=True)
    for result, got in ((r, x) for r, x in given if r.name[1:] in WIDTHS):
        variable, array = variables[result.name], np.asarray(got)
        expected = first_value(variable, 7)
        if variable.dtype == "bool":
            assert array.dtype == np.int8
            array = array.astype(np.bool_)
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape), result.name
        if variable.dtype == "float64":
            size = np.maximum(np.abs(expected.astype(np.float64)), 0.5)
            assert np.all(np.abs(array - expected) <= 16 * 2.0**-52 * size), result.name
        elif result.name in ("/half", "/brain"):
            apart = array.view(np.int16).astype(int) - expected.view(np.int16).astype(int)
            assert np.abs(apart).max() <= 1, result.name
            assert np.count_nonzero(apart) <= apart.size // 100, result.name
        else:
            np.testing.assert_array_equal(array, expected, err_msg=result.name)


def test_what_is_in_it() -> None:
    """Device variables in the ABI's order, but for those of which the user gives the value."""
    made = compiled("cpu")
    function = function_of(made, "initialize")
    (seed,) = function.arguments
    assert (seed.name, seed.role, seed.dtype, seed.shape) == ("seed", "seed", "int32", (2,))
    device = [v for v in made.manifest.variables if v.storage == "device"]
    given = [r.name for r in function.results]
    assert given == [v.name for v in device if v.name != "/given"]
    assert {r.role for r in function.results} == {"initial"}
    assert "/AdamOptimizer/g_1st_moment" in given
    assert made.program.entry_points[-1].name == "initialize"


def test_equal_initializers_share_their_code() -> None:
    """A dispatch for each random variable, a kernel for each shape and kind; the rest is fills."""
    cost = compiled("cpu").statistics["initialize"]
    assert cost.dispatches == sum(
        first.fill is None and first.kind != "required" and 0 not in shape
        for first, _, shape in (*PLAIN.values(), *TRAINED.values())
    )
    assert (cost.copies, cost.submissions) == (0, 1)
    kernels = set(re.findall(rb"initialize_dispatch_\d+", compiled("cpu").data))
    assert len(kernels) == 5, kernels  # u and u2, symmetric, g and g2, n and n2, s


def test_results_are_buffers_of_their_own() -> None:
    """A step in place on the results changes no others, nor what the next call gives."""
    made, code = compiled("cpu"), module("cpu")
    first = [np.asarray(x) for x in code.call("initialize", [words(7)])]
    names = [r.name for r in function_of(made, "initialize").results]
    kept: dict[str, Any] = dict(
        zip(names, code.call("initialize", [words(7)], keep=True), strict=True)
    )
    step = function_of(made, "train_step")
    state = {
        "/given": code.upload(np.ones(3, np.float32)),
        "x": code.upload(np.ones(4, np.float32)),
    }
    tensors = [(kept | state)[a.name] for a in step.arguments if a.role != "scalars"]
    code.call(step.name, [*tensors, *evaluate_scalars(step, host_values(made.manifest)).arguments])
    changed = {a.name for a in step.arguments if a.result is not None}
    assert len(changed) == 6  # two matrices, and two moments of each
    after = {name: np.asarray(code.memory.read(kept[name])) for name in names}
    for name, before in zip(names, first, strict=True):
        assert np.array_equal(after[name], before) != (name in changed), name
    again = code.call("initialize", [words(7)])
    for name, before, now in zip(names, first, again, strict=True):
        np.testing.assert_array_equal(before, np.asarray(now), err_msg=name)


def test_the_runtime_s_own_values_are_its_hosts() -> None:
    """`CompiledStep.initialize` draws on the host; the function is for hosts without Python."""
    with compiled("cpu").load(device="local-sync") as step:
        assert step.functions == ("train_step", "evaluate")
        step.initialize({"given": np.ones(3, np.float32)}, seed=7)
        variables = {v.name: v for v in step.manifest.variables}
        got = step.variables["/n"]
        assert got.tobytes() == first_value(variables["/n"], 7).tobytes()


def test_nothing_to_give_is_no_function() -> None:
    def loss(ctx: Context, x: Node) -> Node:
        return ops.reduce_sum(x * ctx.variable("w", (4,)).value_graph(x.graph))

    program = train_program(loss, Context(), StochasticGradientDescent(), inputs={"x": "4xf32"})
    assert [e.name for e in program.entry_points] == ["train_step", "evaluate"]
