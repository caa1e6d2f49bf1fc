"""Every kind of argument and result, stepped by a host that knows docs/abi.md and nothing else.

Its calls are those of iree-run-module; the bits are compared with the runtime's.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from docs import abi_page
from docs.abi_page import shell
from stepforge import runtime
from stepforge.frontend import (
    AdamW,
    Context,
    CosineSchedule,
    Graph,
    Settable,
    compile_optimizer,
    initializers,
    ops,
)
from stepforge.runtime.arrays import numpy_dtype

Array = NDArray[Any]

pytestmark = pytest.mark.compiler


def flip_and_mask(ctx: Context, graph: Graph) -> None:
    """A bool that changes, and a buffer that does not."""
    flags = ctx.variable("flags", (3,), "bool", trainable=False, initializer=initializers.zeros())
    mask = ctx.variable("mask", (7,), trainable=False, initializer=initializers.ones())
    flags.set_value_graph(ops.logical_not(flags.value_graph(graph)))
    bias = ctx.get_variable("b")
    bias.set_value_graph(bias.value_graph(graph) * mask.value_graph(graph))


SHORT = {"float32": "f32", "bfloat16": "bf16", "int32": "i32", "bool": "i8", "int64": "i64"}


def shape_text(item: Mapping[str, Any]) -> str:
    return "x".join([*map(str, item["shape"]), SHORT[item["dtype"]]])


class Host:
    """A host that knows an artifact by its page alone: files for tensors, numbers for the rest."""

    def __init__(self, artifact: Path) -> None:
        self.artifact, self.folder = artifact, artifact.parent
        self.code = abi_page.code()
        self.manifest: dict[str, Any] = self.code["read"](artifact)
        self.variables: dict[str, Any] = {v["name"]: v for v in self.manifest["variables"]}
        (self.function,) = self.manifest["functions"]
        self.numbers: dict[str, Any] = self.code["first_numbers"](self.manifest)

    def state(self, path: str) -> Path:
        return self._file("state", path)

    def gradient(self, path: str) -> Path:
        return self._file("gradient", path)

    def output(self, name: str) -> Path:
        return self._file("output", name)

    def step(self) -> dict[str, Array]:
        """One call; returns the primitives among the results, by the variables' paths."""
        following = self.code["host_scalars"](self.function["scalars"], self.numbers)[1]
        flags = [f"--module={self.artifact}", "--device=local-sync"]
        flags += [f"--function={self.function['name']}"]
        flags += [f"--input={self._input(argument)}" for argument in self.function["arguments"]]
        for result in self.function["results"]:
            file = self.state if result["role"] == "state" else self.output
            flags.append(f"--output=@{file(result['name'])}")
        primitives = [name for name, _ in self.function["scalars"]["results"]]
        files = [self._file("number", name).with_suffix(".npy") for name in primitives]
        flags += [f"--output=@{file}" for file in files]
        shell(" ".join(["iree-run-module", *flags]), self.folder)
        self.numbers = following
        return {name: np.load(file) for name, file in zip(primitives, files, strict=True)}

    def _input(self, argument: Mapping[str, Any]) -> str:
        name = argument["name"]
        if argument["role"] == "gradient":
            return f"{shape_text(argument)}=@{self.gradient(name)}"
        if name in self.numbers:
            return repr(self.code["derived"](self.numbers[name], argument["derive"]))
        return f"{shape_text(argument)}=@{self.state(name)}"

    def _file(self, kind: str, name: str) -> Path:
        return self.folder / f"{kind}-{name.replace('/', '_')}.bin"


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    """A bool, bfloat16, an unchanged buffer, outputs, and a rate that a schedule writes."""
    ctx = Context()
    ctx.set_params({"clip_nan": True, "nanlogger": True})
    optimizer = AdamW(
        learning_rate=CosineSchedule(period=5, warm_up_steps=2, minimum=1e-4),
        betas=(0.9, Settable(0.99)),
    )
    path = tmp_path / "all.vmfb"
    shapes = {"w": "5x7xbf16", "b": "7xf32"}
    compile_optimizer(optimizer, shapes, context=ctx, after_update=flip_and_mask, output=path)
    return path


def test_every_kind_of_argument_and_result(artifact: Path) -> None:
    host, random = Host(artifact), np.random.default_rng(3)

    def draw(path: str) -> Array:
        variable = host.variables[path]
        return random.normal(size=variable["shape"]).astype(numpy_dtype(variable["dtype"]))

    with runtime.load(artifact, device="local-sync") as step:
        step.initialize({"w": draw("/w"), "b": draw("/b")})
        for path, variable in host.variables.items():
            if variable["storage"] == "device":
                host.state(path).write_bytes(step.variables[path].tobytes())
        for t in (1, 2, 3):
            gradients = {"/w": draw("/w"), "/b": draw("/b")}
            gradients["/w"][1, 2:4] = np.nan if t == 2 else 1.0
            for path, gradient in gradients.items():
                host.gradient(path).write_bytes(gradient.tobytes())
            step.step(gradients)
            primitives = host.step()
            assert_same(host, step, primitives)
            count = np.fromfile(host.output("nonfinite/w"), np.int32)
            assert count.tolist() == [2 if t == 2 else 0]


def test_variables_and_gradients_in_arenas(tmp_path: Path) -> None:
    path, random = tmp_path / "packed.vmfb", np.random.default_rng(5)
    shapes = {"a": (5, 7), "b": (7,), "c": (2, 3, 11)}
    compile_optimizer(AdamW(), shapes, output=path)
    host = Host(path)
    arenas = {arena["name"]: arena for arena in host.manifest["arenas"]}
    kinds = [(a["role"], a["name"] in arenas) for a in host.function["arguments"][:4]]
    assert kinds == [("parameter", True), ("slot", True), ("slot", True), ("gradient", True)]

    def pack(name: str, values: Mapping[str, Array]) -> bytes:
        flat = np.zeros(arenas[name]["size"], np.float32)
        for variable, (start, count) in host.code["parts"](arenas[name]).items():
            flat[start : start + count] = values[variable].reshape(-1)
        return flat.tobytes()

    with runtime.load(path, device="local-sync") as step:
        step.initialize({name: random.normal(size=s).astype("f4") for name, s in shapes.items()})
        for name in ("@arena0", "@arena1", "@arena2"):
            host.state(name).write_bytes(pack(name, step.variables))
        for _ in range(3):
            gradients = {f"/{n}": random.normal(size=s).astype("f4") for n, s in shapes.items()}
            host.gradient("@arena3").write_bytes(pack("@arena3", gradients))
            step.step(gradients)
            host.step()
        for name in ("@arena0", "@arena1", "@arena2"):
            flat = np.fromfile(host.state(name), np.float32)
            for variable, (start, count) in host.code["parts"](arenas[name]).items():
                expected = step.variables[variable].reshape(-1)
                np.testing.assert_array_equal(flat[start : start + count], expected)


def assert_same(host: Host, step: runtime.CompiledStep, primitives: Mapping[str, Array]) -> None:
    for path, variable in host.variables.items():
        if variable["storage"] == "device":
            assert host.state(path).read_bytes() == step.variables[path].tobytes(), path
        else:
            expected = np.asarray(host.numbers[path]).astype(numpy_dtype(variable["dtype"]))
            assert step.variables[path] == expected, path
    for path, value in primitives.items():
        # The module computes a rate in float32: the angle, its cosine and four more operations,
        # each within 2^-23 of the full rate of 0.001.
        bound = 0.0 if value.dtype == np.int64 else 8 * 2.0**-23 * 0.001
        assert abs(float(value) - float(host.numbers[path])) <= bound, path
