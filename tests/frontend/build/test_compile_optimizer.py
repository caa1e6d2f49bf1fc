"""compile_optimizer: what it returns, what it refuses, and the proof before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.frontend import (
    Adam,
    AdamW,
    Context,
    CosineSchedule,
    Settable,
    StochasticGradientDescent,
    trace,
)
from stepforge.frontend.build import compile_optimizer, in_place_check
from stepforge.frontend.build.parameters import parameter_specs
from stepforge.frontend.errors import (
    FrontendError,
    HyperparameterError,
    InPlaceCheckError,
    ParameterError,
)
from stepforge.frontend.program_json import program_from_json, program_to_json
from stepforge.passes import UnsupportedDTypeError
from stepforge.runtime.container import read_artifact
from stepforge.runtime.executor import Module

PARAMETERS = {"encoder/w": "16x8xf32", "encoder/b": "8xf32"}


@pytest.fixture(scope="module")
def adam() -> Any:
    return compile_optimizer(Adam(learning_rate=0.01), PARAMETERS, target="cpu")


@pytest.mark.compiler
def test_one_dispatch_for_all_and_nothing_copied_or_allocated(adam: Any) -> None:
    step = adam.statistics["step"]
    assert (step.dispatches, step.copies, step.allocations, step.transient_bytes) == (1, 0, 0, 0)
    assert step.late_reads == 0
    assert adam.statistics.imports_allocation is False


@pytest.mark.compiler
def test_the_artifact_holds_the_graph_it_was_compiled_from(adam: Any) -> None:
    read = read_artifact(adam.data)
    again = program_from_json(read.graph_json)
    assert program_to_json(again).encode() == read.graph_json
    assert read.manifest == adam.manifest


@pytest.mark.compiler
def test_equal_input_gives_equal_bytes() -> None:
    """On a target whose builds are not kept for the next one."""
    first, second = (compile_optimizer(Adam(), PARAMETERS, target="vmvx").data for _ in range(2))
    assert first == second


@pytest.mark.compiler
def test_the_file_is_written_once_and_only_replaced_with_force(tmp_path: Path) -> None:
    path = tmp_path / "sgd.vmfb"
    made = compile_optimizer(StochasticGradientDescent(), PARAMETERS, output=path)
    assert made.path == path
    assert path.read_bytes() == made.data
    with pytest.raises(runtime.ArtifactWriteError, match=r"exists and is not overwritten.*--force"):
        made.save(path)
    assert made.save(path, force=True) == path
    assert [file.name for file in tmp_path.iterdir()] == ["sgd.vmfb"]


@pytest.mark.compiler
def test_a_settable_changes_without_compiling() -> None:
    made = compile_optimizer(AdamW(weight_decay=Settable(0.0), learning_rate=0.5), {"w": "4xf32"})
    moved = []
    for decay in (0.0, 0.5):
        with made.load() as optimizer:
            optimizer.initialize({"w": np.full(4, 2.0, np.float32)})
            optimizer.hyperparameters["weight_decay"] = decay
            optimizer.step({"w": np.zeros(4, np.float32)})
            moved.append(float(optimizer.parameters["w"][0]))
    assert moved == [2.0, 1.5]  # p - lr * decay * p, exact in binary


@pytest.mark.compiler
def test_two_optimizers_are_two_entry_points_of_one_artifact() -> None:
    made = compile_optimizer(
        {
            "critic": StochasticGradientDescent(decay=False, learning_rate=0.5),
            "actor": Adam(scope="Actor"),
        },
        {"actor/w": (3,), "critic/w": (2,)},
        updates={"critic": ["critic/w"], "actor": ["actor/w"]},
        context=Context(),
    )
    assert [f.name for f in made.manifest.functions] == ["critic", "actor"]
    with made.load() as optimizer:
        optimizer.initialize({"actor/w": np.ones(3, "f4"), "critic/w": np.ones(2, "f4")})
        optimizer.step({"critic/w": np.ones(2, "f4")}, function="critic")
        assert optimizer.parameters["critic/w"].tolist() == [0.5, 0.5]
        assert optimizer.parameters["actor/w"].tolist() == [1.0, 1.0, 1.0]


@pytest.mark.compiler
def test_a_dtype_that_the_target_lacks_is_refused_before_anything_is_compiled() -> None:
    with pytest.raises(UnsupportedDTypeError, match="float16"):
        compile_optimizer(Adam(), {"w": "4xf16"}, target="vulkan")


@pytest.mark.compiler
@pytest.mark.parametrize("target", ["vulkan", "vulkan:videocore_vii"])
def test_bfloat16_is_refused_where_only_words_are_stored(target: str) -> None:
    with pytest.raises(UnsupportedDTypeError, match=r"bfloat16.*garbage.*vulkan:adreno"):
        compile_optimizer(Adam(), {"w": ((4,), "bfloat16")}, target=target)


@pytest.mark.compiler
def test_a_build_that_disagrees_is_refused(adam: Any) -> None:
    """The proof itself: another optimizer's code in place of the plain build is found out."""
    other = compile_optimizer(Adam(learning_rate=0.01, epsilon=1e-3), PARAMETERS)
    builds = [Module(x.data, "local-sync") for x in (adam, other)]
    with pytest.raises(InPlaceCheckError, match=r"disagrees with the plain build in '@arena0'"):
        in_place_check.check_in_place(adam.manifest, *builds)


@pytest.mark.compiler
def test_state_that_went_elsewhere_is_refused(adam: Any) -> None:
    """A plain build in place of the in-place one leaves the old state in the arguments."""
    from stepforge.frontend.emit import emit  # noqa: PLC0415 - needs the compiler
    from stepforge.passes import compile_module  # noqa: PLC0415

    plain = Module(compile_module(emit(adam.program), "cpu", in_place=False).vmfb, "local-sync")
    with pytest.raises(InPlaceCheckError, match="disagrees"):
        in_place_check.check_in_place(adam.manifest, plain, plain)


@pytest.mark.compiler
@pytest.mark.parametrize("target", ["cuda", "rocm:gfx942", "cpu:aarch64", "vulkan:adreno"])
def test_targets_that_cannot_run_here_are_proved_on_the_cpu(target: str) -> None:
    made = compile_optimizer(Adam(), {"w": "8xf32"}, target=target)
    assert made.manifest.targets[0].name.startswith(target.partition(":")[0])
    assert made.statistics["step"].dispatches == 1


def test_what_is_refused_leaves_the_context_as_it_was() -> None:
    context = Context()
    with pytest.raises(FrontendError, match="reserved"):
        compile_optimizer(Adam(), {"global_step": (3,)}, context=context)
    assert list(context.root) == []
    with pytest.raises(runtime.ArtifactWriteError, match="exists"):
        compile_optimizer(Adam(), {"w": (3,)}, context=context, output=Path(__file__))
    assert list(context.root) == []


def test_an_explicit_value_that_a_variable_contradicts_is_refused() -> None:
    context = Context()
    context.variable("w", (2,), "float32")
    trace(Adam(learning_rate=0.1), context)
    trace(Adam(learning_rate=0.1), context)
    trace(Adam(), context)  # without an explicit one, the variable keeps its value
    with pytest.raises(HyperparameterError, match=r"learning_rate.*already(?s:.*)0\.1(?s:.*)0\.5"):
        trace(Adam(learning_rate=0.5), context)


def test_a_settable_period_counts_steps() -> None:
    context = Context()
    context.variable("w", (2,), "float32")
    optimizer = Adam(learning_rate=CosineSchedule(period=Settable(-3), learning_rate=0.1))
    with pytest.raises(HyperparameterError, match=r"cycles=Settable\(n\)"):
        trace(optimizer, context)


class Arraylike:
    shape = (2, 3)
    dtype = "torch.bfloat16"


@pytest.mark.parametrize(
    ("value", "shape", "dtype"),
    [
        ("64x32xf32", (64, 32), "float32"),
        ("f32", (), "float32"),
        ({"shape": [4], "dtype": "bf16"}, (4,), "bfloat16"),
        ({"shape": []}, (), "float32"),
        ((3, 4), (3, 4), "float32"),
        (((3,), "float64"), (3,), "float64"),
        (np.zeros((2, 2), np.float16), (2, 2), "float16"),
        (Arraylike(), (2, 3), "bfloat16"),
    ],
)
def test_what_a_parameter_may_be(value: Any, shape: tuple[int, ...], dtype: str) -> None:
    (spec,) = parameter_specs({"w": value})
    assert (spec.name, spec.shape, spec.dtype.name) == ("w", shape, dtype)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({}, "at least one parameter"),
        ({"w": "64by32"}, "64x32xf32"),
        ({"w": np.zeros(3, np.int32)}, "floating point: 'w' has dtype int32"),
        ({"w": (3, 0)}, "every dimension of a parameter is positive"),
        ({"w": {"dims": [3]}}, "keys shape"),
        ({"w": object()}, "'w' is a object"),
        ({"w": {"shape": [2.5]}}, "dimensions are integers"),
    ],
)
def test_what_a_parameter_may_not_be(parameters: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        parameter_specs(parameters)


def test_trace_needs_no_compiler() -> None:
    context = Context()
    context.variable("w", (2,), "float32")
    assert trace(Adam(), context).entry_points[0].name == "step"


@pytest.mark.parametrize(("isolate", "timeout"), [(False, 5.0), (True, 0.0), (True, float("nan"))])
def test_a_timeout_needs_a_process_of_its_own(isolate: bool, timeout: float) -> None:
    with pytest.raises(FrontendError, match="isolate=True, and a timeout of more than 0 seconds"):
        compile_optimizer(Adam(), {"w": (3,)}, isolate=isolate, timeout=timeout)
