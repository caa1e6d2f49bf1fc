"""Steps of any length: variables that are defined when the step is loaded."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.runtime.any_length import define, shapes_of
from stepforge.runtime.container import Artifact, read_artifact
from stepforge.runtime.errors import ArtifactFormatError
from stepforge.runtime.manifest import Arena, Manifest, Variable
from stepforge.runtime.manifest_check import check
from stepforge.runtime.manifest_encode import to_json
from stepforge.runtime.manifest_parse import from_json
from support import handmade

from .conftest import Place

pytestmark = pytest.mark.compiler

Arrays = Mapping[str, NDArray[Any]]
SHAPES = {"encoder/w": (37, 5), "encoder/b": (3,), "scale": (), "table": (130, 9)}
OTHERS = {"w": (2, 3)}


@cache
def made(target: str = "cpu") -> Artifact:
    from stepforge.frontend import AdamW, compile_optimizer  # noqa: PLC0415 - needs the compiler

    return read_artifact(compile_optimizer(AdamW(), any_length=True, target=target).data)


@cache
def fixed(target: str = "cpu") -> Artifact:
    from stepforge.frontend import AdamW, compile_optimizer  # noqa: PLC0415 - needs the compiler

    return read_artifact(compile_optimizer(AdamW(), SHAPES, target=target).data)


def arrays(seed: int, shapes: Mapping[str, tuple[int, ...]] = SHAPES) -> dict[str, NDArray[Any]]:
    generator = np.random.default_rng(seed)
    return {
        name: np.asarray(generator.standard_normal(shape), np.float32)
        for name, shape in shapes.items()
    }


def in_small_arenas(artifact: Artifact, size: int) -> Artifact:
    """The same module, which is told that one call takes no more elements."""
    arenas = tuple(dataclasses.replace(a, size=size) for a in artifact.manifest.arenas)
    functions = tuple(
        dataclasses.replace(
            f,
            arguments=tuple(
                dataclasses.replace(a, shape=(size,)) if a.name.startswith("@") else a
                for a in f.arguments
            ),
            results=tuple(dataclasses.replace(r, shape=(size,)) for r in f.results),
        )
        for f in artifact.manifest.functions
    )
    manifest = dataclasses.replace(artifact.manifest, arenas=arenas, functions=functions)
    return dataclasses.replace(artifact, manifest=from_json(to_json(manifest)))


# What it is for some parameters.


def test_it_steps_as_a_fixed_artifact(place: Place) -> None:
    with (
        made(place.target).load(device=place.device) as free,
        fixed(place.target).load(device=place.device) as bound,
    ):
        for step in (free, bound):
            step.initialize(arrays(1))
        assert list(free.variables) == list(bound.variables)
        for seed in range(2, 6):
            for step in (free, bound):
                step.step(arrays(seed))
            free.learning_rate *= 0.5
            bound.learning_rate *= 0.5
        for path in free.variables:
            got, expected = free.variables[path], bound.variables[path]
            # The same operations; only which products are fused with sums may differ.
            np.testing.assert_allclose(got, expected, rtol=1e-6, atol=1e-7, err_msg=path)
        assert free.global_step == 4
        assert free.hyperparameters == bound.hyperparameters
        assert repr(free) == repr(bound)


def test_gradients_are_written_where_the_step_reads_them(place: Place) -> None:
    with made(place.target).load(device=place.device) as step:
        step.initialize(arrays(1))
        step.step(arrays(2))
        expected = handmade.snapshot(step)
        step.initialize(arrays(1))
        for name, gradient in step.gradients.items():
            gradient[...] = arrays(2)[name]
        step.step()
        assert handmade.snapshot(step) == expected


@pytest.mark.parametrize("size", [16, 192, 1_216])
def test_several_arenas_are_several_calls_of_one_step(place: Place, size: int) -> None:
    small = in_small_arenas(made(place.target), size)
    with (
        made(place.target).load(device=place.device) as one,
        small.load(device=place.device) as several,
    ):
        for step in (one, several):
            step.initialize(arrays(1))
            step.step(arrays(2))
            step.step(arrays(3), wait=False)
        calls = several.manifest.functions[0].calls
        assert calls == {16: 4, 192: 3, 1_216: 2}[size]
        assert len(several.manifest.arenas) == 4 * calls
        assert handmade.snapshot(several) == handmade.snapshot(one)
        assert several.global_step == 2


def test_a_step_that_broke_off_between_its_calls_is_lost() -> None:
    with in_small_arenas(made(), 192).load(device="local-sync") as step:
        step.initialize(arrays(1))
        calls: Any = step._entries["step"]._earlier
        second = calls[1]

        class Interrupted:
            def run(self, *_: Any, **__: Any) -> None:
                raise KeyboardInterrupt

        calls[1] = Interrupted()
        with pytest.raises(KeyboardInterrupt):
            step.step(arrays(2))
        with pytest.raises(runtime.StateLostError):
            step.step(arrays(2))
        calls[1] = second
        step.initialize(arrays(1))
        step.step(arrays(2))
        assert step.global_step == 1


@pytest.mark.parametrize("shapes", [SHAPES, OTHERS], ids=["the same", "others"])
def test_after_a_lost_device_it_begins_anew(shapes: Mapping[str, tuple[int, ...]]) -> None:
    class Fails:
        def wait(self, *_: Any, **__: Any) -> None:
            raise RuntimeError("DEVICE_LOST; gone")

    with made().load(device="local-sync") as step:
        step.initialize(arrays(1))
        step.step(arrays(2), wait=False)
        timeline: Any = step._session.module.timeline
        timeline.signal, timeline._semaphore = Fails(), Fails()
        with pytest.raises(runtime.StateLostError):
            step.synchronize()
        step.initialize(arrays(1, shapes))
        step.step(arrays(2, shapes))
        assert step.global_step == 1


def test_parts_lie_apart_and_the_rest_is_zero() -> None:
    manifest = define(made().manifest, {f"/{name}": shape for name, shape in SHAPES.items()})
    (parameters,) = [a for a in manifest.arenas if a.variables[0] == "/encoder/w"][:1]
    # 185, 3, 1 and 1,170 elements, each from a multiple of 16 on.
    assert parameters.size == 192 + 16 + 16 + 1_184
    with made().load() as step:
        step.initialize(arrays(1))
        whole = step._session.state.storage.argument(parameters.name, 0).array
        assert whole is not None
        gaps = [slice(185, 192), slice(195, 208), slice(209, 224), slice(1_394, None)]
        step.step(arrays(2))
        for gap in gaps:
            assert not whole[gap].any()


# Which variables there are.


def test_before_initialize_there_are_none() -> None:
    with made().load() as step:
        assert list(step.parameters) == []
        assert list(step.gradients) == []
        assert list(step.variables) == [
            "/optimizers/learning_rate",
            "/global_step",
            "/AdamOptimizer/step",
        ]
        assert step.any_length
        assert step.learning_rate == 0.001
        for use in (step.step, lambda: step.step(arrays(1)), step.snapshot, step.synchronize):
            with pytest.raises(runtime.NotInitializedError):
                use()


def test_mappings_that_were_looked_up_before_follow() -> None:
    with made().load() as step:
        parameters, variables, gradients = step.parameters, step.variables, step.gradients
        step.initialize(arrays(1))
        assert list(parameters) == list(gradients) == list(SHAPES)
        np.testing.assert_array_equal(parameters["table"], arrays(1)["table"])
        assert "/AdamOptimizer/scale_2nd_moment" in variables
        step.initialize(arrays(1, OTHERS))
        assert list(parameters) == list(gradients) == ["w"]
        assert step.slots("1st_moment")["w"].shape == (2, 3)
        with pytest.raises(runtime.UnknownNameError):
            parameters["table"]


def test_the_same_variables_keep_their_memory() -> None:
    with made().load() as step:
        step.initialize(arrays(1))
        gradient = step.gradients["table"]
        step.initialize(dict(reversed(arrays(2).items())))
        assert step.gradients["table"] is gradient
        np.testing.assert_array_equal(step.parameters["scale"], arrays(2)["scale"])


def test_names_may_be_paths() -> None:
    with made().load() as step:
        step.initialize({f"/{name}": array for name, array in arrays(1).items()})
        assert list(step.parameters) == list(SHAPES)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (None, "expected a mapping of names to arrays, got nothing"),
        ([1], "got a list"),
        ({}, "at least one parameter"),
        ({1: np.zeros(3, np.float32)}, "expected strings as names"),
        ({"w": [1.0]}, "parameter 'w'"),
        ({"w": np.zeros(3)}, "expected dtype float32, got float64; convert it"),
        ({"w": np.zeros((0, 3), np.float32)}, "expected elements"),
        ({"w": np.zeros(3, np.float32), "/w": np.zeros(3, np.float32)}, "'w' is given twice"),
        ({"global_step": np.zeros(3, np.float32)}, "the name is reserved"),
        ({"AdamOptimizer/w": np.zeros(3, np.float32)}, "the name is reserved"),
        ({"": np.zeros(3, np.float32)}, "printable name"),
        ({"a\n": np.zeros(3, np.float32)}, "printable name"),
    ],
)
def test_what_is_no_parameter_is_refused_and_nothing_is_lost(parameters: Any, said: str) -> None:
    with made().load() as step:
        step.initialize(arrays(1))
        step.step(arrays(2))
        before = handmade.snapshot(step)
        with pytest.raises(runtime.InputError) as caught:
            step.initialize(parameters)
        assert said in str(caught.value)
        assert handmade.snapshot(step) == before
        step.step(arrays(2))


def test_gradients_of_other_parameters_are_refused() -> None:
    with made().load() as step:
        step.initialize(arrays(1))
        with pytest.raises(runtime.GradientError, match="missing: 'scale'"):
            step.step({k: v for k, v in arrays(2).items() if k != "scale"})


def test_memory_that_the_device_refuses_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    with made().load() as step:
        step.initialize(arrays(1))
        before = handmade.snapshot(step)

        def refuse(*_: Any) -> None:
            raise runtime.DeviceMemoryError("no memory")

        with monkeypatch.context() as patch:
            patch.setattr("stepforge.runtime.buffers.Memory.shared", refuse)
            with pytest.raises(runtime.DeviceMemoryError):
                step.initialize(arrays(1, OTHERS))
        assert handmade.snapshot(step) == before
        step.step(arrays(2))


def test_it_may_be_tried_elsewhere_first() -> None:
    with runtime.load(made(), isolate=True, device="local-sync") as step:
        step.initialize(arrays(1))
        step.step(arrays(2))


def test_adopted_memory_is_refused() -> None:
    with pytest.raises(runtime.InputError, match="keeps its variables together in arenas"):
        runtime.load(made(), storage="adopt")


def test_the_device_is_chosen_by_the_size_of_the_variables() -> None:
    with made().load() as step:
        assert step.device == "local-sync"
        large = {"w": np.zeros(2**19, np.float32)}
        step.initialize(large)
        assert step.device == "local-task"
        step.step(large)
        step.initialize(arrays(1))
        assert step.device == "local-sync"
    with made().load(device="local-sync") as step:
        step.initialize(large)
        assert step.device == "local-sync"


# Checkpoints.


def test_a_checkpoint_defines_the_variables(place: Place, tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    with made(place.target).load(device=place.device) as step:
        step.initialize(arrays(1))
        step.step(arrays(2))
        step.learning_rate = 0.25
        step.save(path)
        step.step(arrays(3))
        expected = handmade.snapshot(step)
    with made(place.target).load(device=place.device) as step:
        step.restore(path)
        assert dict.fromkeys(step.parameters) == dict.fromkeys(SHAPES)
        step.step(arrays(3))
        assert handmade.snapshot(step) == expected


def test_checkpoints_are_those_of_fixed_artifacts(tmp_path: Path) -> None:
    path, back = tmp_path / "run.safetensors", tmp_path / "back.safetensors"
    with fixed().load() as bound, made().load() as free:
        bound.initialize(arrays(1))
        bound.step(arrays(2))
        bound.save(path)
        free.restore(path)
        assert handmade.snapshot(free) == handmade.snapshot(bound)
        for step in (bound, free):
            step.step(arrays(3))
        free.save(back)
        bound.restore(back)
        assert handmade.snapshot(free) == handmade.snapshot(bound)


def test_a_snapshot_brings_its_variables_back() -> None:
    with made().load() as step, made("vmvx").load() as other:
        step.initialize(arrays(1))
        step.step(arrays(2))
        kept, before = step.snapshot(), handmade.snapshot(step)
        step.initialize(arrays(1, OTHERS))
        step.restore_snapshot(kept)
        assert handmade.snapshot(step) == before
        with pytest.raises(runtime.CheckpointError, match="of another artifact"):
            other.restore_snapshot(kept)


def _truncated(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3])


def _header_alone(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:20])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _huge_header(path: Path) -> None:
    path.write_bytes(b"\xff" * 64)


def _changed(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


def _list(path: Path) -> None:
    path.write_bytes((2).to_bytes(8, "little") + b"[]")


def _without_parameters(path: Path) -> None:
    path.write_bytes((2).to_bytes(8, "little") + b"{}")


@pytest.mark.parametrize(
    "damage",
    [_truncated, _header_alone, _empty, _huge_header, _changed, _list, _without_parameters],
)
def test_a_damaged_checkpoint_changes_nothing(
    damage: Callable[[Path], None], tmp_path: Path
) -> None:
    path = tmp_path / "run.safetensors"
    with made().load() as step:
        step.initialize(arrays(1, OTHERS))
        step.save(path)
        step.initialize(arrays(1))
        before = handmade.snapshot(step)
        damage(path)
        with pytest.raises(runtime.CheckpointError):
            step.restore(path)
        assert handmade.snapshot(step) == before
        with pytest.raises(OSError, match=r"no\.safetensors"):
            step.restore(tmp_path / "no.safetensors")


def test_a_checkpoint_of_another_optimizer_is_refused(tmp_path: Path) -> None:
    with handmade.adam().load() as other, made().load() as step:
        other.initialize({name[1:]: np.ones(s, np.float32) for name, s in handmade.SHAPES.items()})
        other.save(tmp_path / "run.safetensors")
        with pytest.raises(runtime.CheckpointError, match="was written by the optimizer"):
            step.restore(tmp_path / "run.safetensors")


# Manifests.


def test_the_manifest_survives_its_json() -> None:
    manifest = made().manifest
    assert manifest.length == "any"
    assert from_json(to_json(manifest)) == manifest
    assert b'"length"' not in to_json(fixed().manifest)
    assert dict(shapes_of(manifest)) == {"/*": (0,)}


def _variable(manifest: Manifest, index: int, **fields: Any) -> tuple[Variable, ...]:
    changed = list(manifest.variables)
    changed[index] = dataclasses.replace(changed[index], **fields)
    return tuple(changed)


def _arenas(manifest: Manifest, **fields: Any) -> tuple[Arena, ...]:
    first, *rest = manifest.arenas
    return (dataclasses.replace(first, **fields), *rest)


BROKEN: Mapping[str, Callable[[Manifest], dict[str, Any]]] = {
    "is not 'any'": lambda m: {"length": "some"},
    "the one parameter is called '/*'": lambda m: {"length": "any"},
    "is no parameter or slot of the shape (0,)": lambda m: {
        "variables": _variable(m, 1, shape=(5,))
    },
    "non-finite values are not counted": lambda m: {"nan_tracing": True},
    "aligned alike": lambda m: {"arenas": _arenas(m, align=32)},
    "a group of some parameters": lambda m: {
        "groups": tuple(dataclasses.replace(g, variables=("/*",)) for g in m.groups)
    },
    "updates '/*'": lambda m: {
        "functions": tuple(dataclasses.replace(f, parameters=()) for f in m.functions)
    },
    "2 calls": lambda m: {"functions": tuple(dataclasses.replace(f, calls=2) for f in m.functions)},
}


@pytest.mark.parametrize("rule", BROKEN)
def test_an_inconsistent_manifest_is_refused(rule: str) -> None:
    of_fixed = rule == "the one parameter is called '/*'"
    manifest = (fixed() if of_fixed else made()).manifest
    check(manifest)
    with pytest.raises(ArtifactFormatError) as caught:
        check(dataclasses.replace(manifest, **BROKEN[rule](manifest)))
    assert rule in str(caught.value)


def test_another_length_is_refused() -> None:
    text = to_json(made().manifest).replace(b'"length":"any"', b'"length":"short"')
    with pytest.raises(ArtifactFormatError, match="length"):
        from_json(text)
