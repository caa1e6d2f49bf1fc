"""`update="ping-pong"`: the same bits as in place, nothing allocated, and the old state untouched.

What it is for, a device that fails in a step, is in test_device_loss.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.frontend import (
    KNOWN_OPTIMIZERS,
    Adam,
    Context,
    FrontendError,
    StochasticGradientDescent,
    compile_optimizer,
    compile_train_step,
    ops,
)
from stepforge.frontend.build.artifact import Artifact
from stepforge.frontend.build.in_place_check import check_in_place
from stepforge.frontend.errors import InPlaceCheckError
from stepforge.passes import Layout, Update
from stepforge.runtime.buffers import Memory
from stepforge.runtime.executor import Module
from stepforge.runtime.manifest_encode import to_json
from stepforge.runtime.manifest_parse import from_json
from stepforge.runtime.step import CompiledStep
from stepforge.tools.cli import main
from support import faults, handmade, training
from support.programs import draw

pytestmark = pytest.mark.compiler

SHAPES: Mapping[str, tuple[int, ...]] = {"encoder/w": (33, 7), "encoder/b": (7,), "scale": ()}
SETTINGS: Mapping[str, dict[str, Any]] = {
    "plain": {},
    "everything": {
        "skip_nonfinite": True,
        "clip_global_norm": 3.0,
        "ema_decay": 0.75,
        "nanlogger": True,
    },
}
PLACES = [
    pytest.param("cpu", "local-sync", id="local-sync"),
    pytest.param("cpu", "local-task", id="local-task"),
    pytest.param("vmvx", "local-sync", id="vmvx"),
    pytest.param("vulkan", "vulkan", id="vulkan", marks=pytest.mark.vulkan),
]


@cache
def artifact(name: str, target: str, update: Update, layout: Layout, setting: str) -> Artifact:
    context = Context()
    context.set_params(SETTINGS[setting])
    return compile_optimizer(
        KNOWN_OPTIMIZERS[name](context),
        {k: (v, "float32") for k, v in SHAPES.items()},
        target=target,
        context=context,
        layout=layout,
        update=update,
    )


def arrays(seed: int) -> dict[str, NDArray[Any]]:
    return draw(seed, SHAPES, "float32")


def same(one: CompiledStep, other: CompiledStep) -> bool:
    return handmade.snapshot(one) == handmade.snapshot(other)


ROWS: list[tuple[str, Layout, str]] = [
    ("adamw", "packed", "plain"),
    ("adamw", "separate", "plain"),
    ("sgd", "packed", "everything"),
]


@pytest.mark.parametrize(("target", "device"), PLACES)
@pytest.mark.parametrize(("name", "layout", "setting"), ROWS)
def test_the_bits_are_those_of_steps_in_place(
    name: str, layout: Layout, setting: str, target: str, device: str, tmp_path: Path
) -> None:
    """Waiting or not, with parameters assigned, rates set, states saved and restored on the way."""
    made = artifact(name, target, "ping-pong", layout, setting)
    twin = artifact(name, target, "in-place", layout, setting)
    with made.load(device=device) as beside, twin.load(device=device) as in_place:
        steps = (beside, in_place)
        for step in steps:
            step.initialize(arrays(1))
        for t in range(12):
            given = arrays(10 + t)
            if t % 4 == 3:
                given["encoder/w"][3, 3] = np.nan if setting == "everything" else 0.0
            beside.step(given, wait=t % 3 > 0)
            in_place.step(given)
            for step in steps:
                if t == 4:
                    step.parameters["encoder/b"] = arrays(3)["encoder/b"]
                if t == 6:
                    step.learning_rate = 0.01
                if t == 9:
                    step.restore(tmp_path / f"{steps.index(step)}.safetensors")
                step.save(tmp_path / f"{steps.index(step)}.safetensors")
            assert same(beside, in_place), t
        beside.initialize(arrays(1))
        in_place.initialize(arrays(1))
        assert same(beside, in_place)


@pytest.mark.parametrize("target", ["cpu", "vulkan", "vmvx", "cuda"])
@pytest.mark.parametrize("layout", ["packed", "separate"])
def test_a_step_allocates_and_copies_nothing(target: str, layout: Layout) -> None:
    made = artifact("adamw", target, "ping-pong", layout, "plain")
    counted = made.statistics["step"]
    assert (counted.allocations, counted.copies, counted.fills) == (0, 0, 0)
    assert counted.dispatches == (1 if layout == "packed" else len(SHAPES))
    if target in ("cpu", "vmvx"):  # those of GPUs have a self-test, which allocates
        assert made.statistics.imports_allocation is False


def test_the_old_state_stays_where_it_is() -> None:
    with artifact("adamw", "cpu", "ping-pong", "separate", "plain").load() as step:
        step.initialize(arrays(1))
        storage = step._session.state.storage
        for t in range(4):
            old = {path: storage.tensor(path) for path in storage.paths}
            before = {path: t.array.tobytes() for path, t in old.items() if t.array is not None}
            step.step(arrays(t))
            after = {path: t.array.tobytes() for path, t in old.items() if t.array is not None}
            assert after == before
            assert len(before) == len(storage.paths)
            assert all(storage.tensor(path) is not old[path] for path in storage.paths)


def two_entry_points(update: Update) -> Artifact:
    """Two optimizers, of which the second updates one parameter only."""
    return compile_optimizer(
        {"all": Adam(scope="one"), "some": StochasticGradientDescent(scope="two")},
        {"w": "8x4xf32", "b": "4xf32"},
        updates={"some": ["b"]},
        update=update,
    )


def test_functions_that_write_different_variables() -> None:
    """Each variable changes its place when it is written, and only then."""
    given = draw(3, {"w": (8, 4), "b": (4,)}, "float32")
    order = ["all", "some", "some", "all", "some", "all", "all", "some"]
    with two_entry_points("ping-pong").load() as step, two_entry_points("in-place").load() as twin:
        for x in (step, twin):
            x.initialize(given)
        for name in order * 2:
            gradients = given if name == "all" else {"b": given["b"]}
            for x in (step, twin):
                x.step(gradients, function=name)
            assert same(step, twin)


@pytest.mark.parametrize(("target", "device"), [PLACES[0]])
def test_training_with_micro_batches(target: str, device: str) -> None:
    inputs = {"x": "8x4xf32", "y": "8x3xf32"}
    made = {
        update: compile_train_step(
            training.loss,
            Adam(),
            inputs=inputs,
            accumulate_steps=3,
            target=target,
            update=update,
        )
        for update in ("ping-pong", "in-place")
    }
    with (
        made["ping-pong"].load(device=device) as step,
        made["in-place"].load(device=device) as twin,
    ):
        for x in (step, twin):
            x.initialize()
        for batch in training.batches(10):
            got, expected = step.train_step(**batch), twin.train_step(**batch)
            assert got["loss"] == expected["loss"]
            assert step.evaluate(**batch)["loss"] == twin.evaluate(**batch)["loss"]
            predicted = step.predict(x=batch["x"])["p"], twin.predict(x=batch["x"])["p"]
            np.testing.assert_array_equal(*predicted)
            assert same(step, twin)
        assert step.global_step == 3


def test_what_no_step_writes_has_one_place() -> None:
    """A frozen parameter of a training step takes no memory twice."""
    context = Context()
    context.set_params_for("frozen*", {"frozen": True})

    def loss(ctx: Context, x: Any) -> Any:
        w = ctx.variable("frozen_w", (4, 3), "float32").value_graph(x.graph)
        b = ctx.variable("b", (8, 3), "float32").value_graph(x.graph)
        error = ops.matmul(x, w) + b
        return ops.reduce_mean(error * error)

    made = compile_train_step(
        loss, Adam(), inputs={"x": "8x4xf32"}, context=context, update="ping-pong"
    )
    with made.load() as step:
        step.initialize({"frozen_w": np.ones((4, 3), np.float32), "b": np.ones((8, 3), np.float32)})
        storage = step._session.state.storage
        assert storage.tensor("/frozen_w") is storage.target("/frozen_w", 0)
        assert not storage.all_doubled
        before = step.parameters["frozen_w"]
        step.train_step(x=np.ones((8, 4), np.float32))
        np.testing.assert_array_equal(step.parameters["frozen_w"], before)


def test_views_and_adopted_arrays_are_refused() -> None:
    made = artifact("adamw", "cpu", "ping-pong", "separate", "plain")
    with pytest.raises(runtime.InputError, match=r"updates by ping-pong.*--update in-place"):
        runtime.load(made.data, storage="adopt")
    with made.load() as step:
        step.initialize(arrays(1))
        with pytest.raises(runtime.HostMemoryError, match=r"read parameters\['scale'\], which cop"):
            step.view("scale")


def test_an_unknown_way_to_update_is_refused() -> None:
    wrong: Any = "sideways"
    with pytest.raises(FrontendError, match="'in-place' or 'ping-pong'"):
        compile_optimizer(Adam(), {"w": "4xf32"}, update=wrong)


@pytest.mark.parametrize("all_at_once", [True, False])
def test_replacing_the_state_is_atomic_too(
    all_at_once: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`initialize` and `restore` write beside the state; assigning one variable is in place."""
    with artifact("adamw", "cpu", "ping-pong", "packed", "plain").load() as step:
        step.initialize(arrays(1))
        step.step(arrays(2))
        before = handmade.snapshot(step)
        write, left = Memory.write, [1]

        def fails(memory: Memory, tensor: Any, values: Any) -> None:
            if not left[0]:
                raise runtime.DeviceMemoryError("device 'x' cannot write 4 bytes")
            left[0] -= 1
            write(memory, tensor, values)

        with monkeypatch.context() as patch:
            patch.setattr(Memory, "write", fails)
            if all_at_once:
                with pytest.raises(runtime.StepFailedError, match="the state is as it was before"):
                    step.initialize(arrays(5))
            else:
                left[0] = 0
                with pytest.raises(runtime.StateLostError, match=r"writing variable .* half-way"):
                    step.parameters["scale"] = arrays(5)["scale"]
        if all_at_once:
            assert handmade.snapshot(step) == before
        step.initialize(arrays(5))
        step.step(arrays(2))
        assert step.global_step == 1


@pytest.mark.parametrize("broken", ["in-place", "elsewhere"])
def test_a_build_that_touches_the_old_state_is_not_written(broken: str) -> None:
    """The proof of an artifact sees an old state overwritten, and a new one that went elsewhere."""
    tensor = "tensor<8xf32>"
    aliased = "{iree.abi.output = 0 : index}"
    own = aliased if broken == "in-place" else ""

    def text(own: str, after: str) -> str:
        body = "%y = arith.addf %x0, %x1 : f32\nlinalg.yield %y : f32"
        return f"""
func.func @step(%p: {tensor} {own}, %g: {tensor}, %lr: f32, %next: !hal.buffer_view {after})
    -> {tensor} {{
  %e = tensor.empty() : {tensor}
  %r = {handmade.generic((8,), "f32", ["%p", "%g"], 1, body)}
  return %r : {tensor}
}}"""

    parameters = handmade.parameters_of({"/w": (8,)})
    function = handmade.function_of(parameters, parameters, (handmade.RATE,))
    manifest = handmade.manifest_of(
        (*parameters, *handmade.HOST_VARIABLES), (function,), formula="sgd", update="ping-pong"
    )

    def module(own: str, after: str) -> Module:
        return Module(handmade.compiled(text(own, after), handmade.BACKENDS["cpu"]))

    plain = module("", "")
    check_in_place(manifest, module("", aliased), plain)
    with pytest.raises(InPlaceCheckError, match="elements differ in step 1"):
        check_in_place(manifest, module(own, ""), plain)


def test_the_command_line(tmp_path: Path) -> None:
    """Compiled, inspected, verified, and stepped."""
    run = CliRunner().invoke
    file, values = tmp_path / "a.vmfb", {"w": np.ones((8, 4), np.float32)}
    np.savez(tmp_path / "p.npz", w=values["w"])
    given = ["--params", str(tmp_path / "p.npz"), "-o", str(file), "--update", "ping-pong"]
    done = run(main, ["compile", "adamw", *given])
    assert done.exit_code == 0, done.output
    shown = run(main, ["inspect", str(file)]).output
    assert any(line.split() == ["update", "ping-pong"] for line in shown.splitlines())
    done = run(main, ["verify", str(file), "--steps", "3"])
    assert done.exit_code == 0, done.output
    with runtime.load(file) as step:
        assert step.manifest.update == "ping-pong"


def test_in_place_artifacts_say_nothing_of_it() -> None:
    """Those of before have no such key, and their bytes did not change."""
    for update in ("in-place", "ping-pong"):
        manifest = faults.failing(update).manifest
        written = to_json(manifest)
        assert (b'"update"' in written) is (update == "ping-pong")
        assert from_json(written) == manifest
    wrong = to_json(manifest).replace(b"ping-pong", b"sideways!")
    with pytest.raises(runtime.ArtifactFormatError, match=r"update.*ping-pong"):
        from_json(wrong)
