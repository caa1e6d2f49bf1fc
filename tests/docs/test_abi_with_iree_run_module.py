"""The commands of docs/abi.md, as they stand there: iree-run-module steps as the runtime does.

Bits are compared, on the same device.
"""

from __future__ import annotations

import json
import math
import shutil
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from docs import abi_page, pages
from docs.abi_page import commands, python, shell
from stepforge import runtime

STEP, TABLE = "A step with iree-run-module", "A step with a table"
FIRST = "First values on the device"
ANY = "Any length"
SHAPES = {"w": (5, 7), "b": (7,)}
Array = NDArray[Any]

pytestmark = pytest.mark.compiler


def for_vulkan(command: str) -> str:
    changed = command.replace("--target cpu", "--target vulkan")
    return changed.replace("--device=local-sync", "--device=vulkan")


def state(folder: Path, suffix: str = "") -> dict[str, Array]:
    """The arrays that the page's commands keep in files, by the variables' paths."""
    found: dict[str, Array] = {}
    for name in SHAPES:
        found[f"/encoder/{name}"] = np.load(folder / f"{name}.npy")
        for kind in ("1st_moment", "2nd_moment"):
            path = f"/AdamOptimizer/encoder/{name}_{kind}"
            found[path] = np.load(folder / f"{name}_{kind}{suffix}.npy")
    return found


def stepped(
    artifact: Path, device: str, before: Mapping[str, Array], folder: Path
) -> runtime.CompiledStep:
    """The runtime's own three steps, from the parameters before."""
    step = runtime.load(artifact, device=device)
    step.initialize({f"encoder/{name}": before[f"/encoder/{name}"] for name in SHAPES})
    for t in (1, 2, 3):
        step.step({f"encoder/{n}": np.load(folder / f"{n}_gradient_{t}.npy") for n in SHAPES})
    return step


def assert_same_bits(got: Mapping[str, Array], step: runtime.CompiledStep) -> None:
    for path, array in got.items():
        expected = np.asarray(step.variables[path])
        assert (array.dtype, array.shape) == (expected.dtype, expected.shape), path
        assert array.tobytes() == expected.tobytes(), path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The artifact of the page and its inputs."""
    made = tmp_path_factory.mktemp("abi")
    shell(commands(STEP, 0), made)
    python(pages.fence(abi_page.PAGE, STEP, "python"), made)
    return made


@pytest.fixture
def work(folder: Path, tmp_path: Path) -> Path:
    """A copy, as the commands write over their inputs."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    return tmp_path


def check_three_steps(work: Path, device: str, block: str) -> None:
    before = state(work)
    shell(block, work)
    after = state(work)
    assert not np.array_equal(after["/encoder/w"], before["/encoder/w"])
    with stepped(work / "adamw.vmfb", device, before, work) as step:
        assert_same_bits(after, step)
        counters = [int(step.variables[p]) for p in ("/global_step", "/AdamOptimizer/step")]
    assert (work / "counters.txt").read_text().count("i64=3") == len(counters)
    assert counters == [3, 3]


def test_three_steps(work: Path) -> None:
    check_three_steps(work, "local-sync", commands(STEP, 1))


@pytest.mark.vulkan
def test_three_steps_and_the_self_test_on_vulkan(work: Path) -> None:
    (work / "adamw.vmfb").unlink()
    shell(for_vulkan(commands(STEP, 0)), work)
    check_three_steps(work, "vulkan", for_vulkan(commands(STEP, 1)))
    shell(commands("The self-test"), work)
    wrong = commands("The self-test").replace("f32=12288", "f32=12287")
    with pytest.raises(AssertionError, match="does not match the expected"):
        shell(wrong, work)


def test_three_steps_with_a_table(work: Path) -> None:
    parts = [
        pages.fence(abi_page.PAGE, heading, "python")
        for heading in ("The manifest", "Host scalars")
    ]
    (work / "abi.py").write_text("\n".join([*parts, pages.fence(abi_page.PAGE, TABLE, "python")]))
    before = state(work, "64")
    shell(commands(TABLE), work)
    after = state(work, "64")
    assert after["/AdamOptimizer/encoder/w_1st_moment"].dtype == np.float64
    with stepped(work / "adamw64.vmfb", "local-sync", before, work) as step:
        assert_same_bits(after, step)


def any_length(folder: Path, device: str, command: str) -> None:
    """One step over two parameters in arenas, as the page lays them out."""
    fences = [f for f in pages.fences(abi_page.PAGE) if f.heading == ANY]
    code = [f.text for f in fences if f.language == "python"]
    names: dict[str, Any] = {"math": math}
    exec(code[0], names)
    python(code[1], folder)
    shell(command, folder)
    shapes = {f"/encoder/{name}": shape for name, shape in SHAPES.items()}
    places, length = names["places"](shapes, 16)

    def part(file: str, name: str) -> Array:
        arena = np.load(folder / f"{file}.npy")
        assert arena.shape == (length,)
        start, count = places[f"/encoder/{name}"]
        return arena[start : start + count].reshape(SHAPES[name])

    with runtime.load(folder / "any.vmfb", device=device) as step:
        step.initialize({f"encoder/{name}": part("parameters", name) for name in SHAPES})
        step.step({f"encoder/{name}": part("gradients", name) for name in SHAPES})
        for name in SHAPES:
            slot = f"/AdamOptimizer/encoder/{name}"
            got = {
                f"/encoder/{name}": part("new_parameters", name),
                f"{slot}_1st_moment": part("new_1st_moments", name),
                f"{slot}_2nd_moment": part("new_2nd_moments", name),
            }
            assert_same_bits(got, step)
        assert step.global_step == 1


def test_a_step_of_any_length(tmp_path: Path) -> None:
    any_length(tmp_path, "local-sync", commands(ANY))


@pytest.mark.vulkan
def test_a_step_of_any_length_on_vulkan(tmp_path: Path) -> None:
    any_length(tmp_path, "vulkan", for_vulkan(commands(ANY)))


def test_tensors_of_several_lengths_are_refused(tmp_path: Path) -> None:
    any_length(tmp_path, "local-sync", commands(ANY))
    np.save(tmp_path / "zeros.npy", np.zeros(32, np.float32))
    with pytest.raises(AssertionError, match="shape"):
        shell(commands(ANY).partition("\n")[2], tmp_path)


def test_first_values(tmp_path: Path) -> None:
    """As near to the host's as the page says; what is no random number is equal."""
    shell(commands(FIRST), tmp_path)
    with runtime.load(tmp_path / "train.vmfb", device="local-sync") as step:
        step.initialize(seed=7)
        parameters = {"/head/w": "head_w", "/head/b": "head_b"}
        slots = {
            f"/AdamOptimizer{path}_{kind}": f"{file}_{kind}"
            for path, file in parameters.items()
            for kind in ("1st_moment", "2nd_moment")
        }
        for path, file in (parameters | slots).items():
            got, expected = np.load(tmp_path / f"{file}.npy"), np.asarray(step.variables[path])
            assert (got.dtype, got.shape) == (expected.dtype, expected.shape), path
            assert np.all(np.abs(got - expected) <= 2 * 2.0**-23 * np.abs(expected)), path
        assert step.variables["/head/w"].any()


def test_the_manifest_and_the_digest_are_read_as_shown(work: Path) -> None:
    with zipfile.ZipFile(work / "adamw.vmfb") as archive:
        expected = archive.read("stepforge.json")
    assert json.loads(expected)["abi"] == 1
    shown = commands("The file")
    if shutil.which("unzip") is None:  # then as Python spells it
        module = "python3 -c 'import sys, zipfile; sys.stdout.buffer.write("
        shown = shown.replace(
            "unzip -p adamw.vmfb stepforge.json",
            module + 'zipfile.ZipFile("adamw.vmfb").read("stepforge.json"))\'',
        )
    shell(shown, work)
    assert (work / "manifest.json").read_bytes() == expected
    with (work / "adamw.vmfb").open("r+b") as file:
        file.seek(200)
        byte = file.read(1)[0]
        file.seek(200)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(AssertionError):
        shell(shown.splitlines()[-1], work)


def test_the_reflection_is_that_of_the_page(work: Path) -> None:
    printed = shell("iree-dump-module adamw.vmfb", work)
    assert "iree.abi.model: coarse-fences" in printed
    assert "stepforge.abi: 1" in printed
    assert "iree.abi.declaration: async func @step(%input0: tensor<5x7xf32>" in printed
