"""docs/abi.md against the code that it describes; nothing here is compiled."""

from __future__ import annotations

import hashlib
import io
import math
import struct
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from docs import abi_page, pages
from stepforge.frontend import (
    Adam,
    AdamW,
    Context,
    CosineSchedule,
    Optimizer,
    RMSProp,
    Settable,
    StochasticGradientDescent,
    initializers,
    trace,
)
from stepforge.frontend.collect import _ROLES
from stepforge.runtime import container
from stepforge.runtime.initializers import first_value
from stepforge.runtime.manifest import (
    INITIALIZER_KINDS,
    ITEM_SIZES,
    Initializer,
    Manifest,
    ScalarProgram,
    Variable,
)
from stepforge.runtime.scalars import CASTS, OPS, compile_program
from stepforge.runtime.shards import shard_ranges

# Name -> (optimizer, parameters of the Context): every way of passing scalars, every scalar op.
PROGRAMS: Mapping[str, tuple[Optimizer, dict[str, Any]]] = {
    "sgd": (StochasticGradientDescent(), {"nanlogger": True}),
    "adam": (Adam(betas=(0.9, Settable(0.999))), {}),
    "adamw64": (AdamW(weight_decay=Settable(0.01), dtype="float64"), {"clip_step_by_value": 0.5}),
    "settable": (
        Adam(
            betas=(Settable(0.9), Settable(0.999)),
            epsilon=Settable(1e-6),
            weight_decay=Settable(0.1),
            backoff_steps=Settable(2),
            dtype="float64",
        ),
        {"clip_step_by_value": Settable(0.1)},
    ),
    "cycles": (
        RMSProp(learning_rate=CosineSchedule(cycles=Settable(3), warm_up_steps=Settable(2))),
        {"train_last_global_step": 40},
    ),
    "period": (
        AdamW(learning_rate=CosineSchedule(period=7, minimum=Settable(1e-5)), dtype="float64"),
        {},
    ),
}


def context(params: Mapping[str, Any]) -> Context:
    """Three parameters of two groups, one with random first values, and a buffer."""
    ctx = Context()
    ctx.set_params(params)
    ctx.at("encoder").set_param("adam_epsilon", 1e-4)
    ctx.variable("encoder/w", (4, 3), "bfloat16", initializer=initializers.he_normal(seed=3))
    ctx.variable("encoder/b", (3,), initializer=initializers.zeros())
    ctx.variable("scale", (), initializer=initializers.constant(math.inf))
    return ctx


def packed(name: str) -> bytes:
    """The file of a program without code: an IREE module is a ZIP archive to the container."""
    # Needs the compiler's package, though it compiles nothing.
    from stepforge.frontend.build.describe import describe  # noqa: PLC0415
    from stepforge.passes import TargetInfo, parse_target  # noqa: PLC0415

    optimizer, params = PROGRAMS[name]
    target = parse_target("vmvx")
    info = TargetInfo(
        name=target.name,
        backend=target.backend,
        device=target.device,
        arch="",
        cpu="",
        cpu_features=(),
        features=(),
        self_test=False,
        iree_target=None,
        subgroup_size=None,
        requirements=(),
    )
    module = io.BytesIO()
    with zipfile.ZipFile(module, "w") as archive:
        archive.writestr("module.fb", b"")
    return container.pack_artifact(
        module.getvalue(), describe(trace(optimizer, context(params)), info), b"{}"
    )


def spelled_out(manifest: Manifest) -> dict[str, Any]:
    """What the page's reader should make of a manifest, from the runtime's reading of it."""
    known, other = {"trainable"}, {"scalars", "calls"}
    variables = [asdict(v) for v in manifest.variables]
    functions = [asdict(f) for f in manifest.functions]
    return {
        "variables": [{k: v for k, v in item.items() if k not in known} for item in variables],
        "functions": [{k: v for k, v in item.items() if k not in other} for item in functions],
    }


def as_json(value: Any) -> Any:
    """Tuples as the lists that JSON has."""
    if isinstance(value, dict):
        return {key: as_json(item) for key, item in value.items()}
    return [as_json(x) for x in value] if isinstance(value, list | tuple) else value


@pytest.mark.compiler
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_reader_reads_what_the_runtime_reads(name: str, tmp_path: Path) -> None:
    data, code = packed(name), abi_page.code()
    path = tmp_path / "artifact.vmfb"
    path.write_bytes(data)
    found: dict[str, Any] = code["read"](path)
    for variable in found["variables"]:
        item = variable["initializer"]
        item["value"] = None if item["value"] is None else code["number"](item["value"])
    for function in found["functions"]:
        del function["scalars"]
    got = {key: found[key] for key in ("variables", "functions")}
    assert got == as_json(spelled_out(container.read_artifact(data).manifest))


@pytest.mark.compiler
@pytest.mark.parametrize("name", PROGRAMS)
def test_the_evaluator_gives_what_the_runtime_computes(name: str, tmp_path: Path) -> None:
    data, code = packed(name), abi_page.code()
    path = tmp_path / "artifact.vmfb"
    path.write_bytes(data)
    manifest: dict[str, Any] = code["read"](path)
    (function,) = container.read_artifact(data).manifest.functions
    program: ScalarProgram | None = function.scalars
    assert program is not None
    evaluator = compile_program(program)
    numbers = code["first_numbers"](manifest)
    for _ in range(12):
        table, following = evaluator.run(numbers)
        got_table, got = code["host_scalars"](manifest["functions"][0]["scalars"], numbers)
        assert got_table == [float(x) for x in table]
        assert got == {**numbers, **dict(following)}
        numbers = got


def test_the_evaluator_has_every_op_that_programs_use() -> None:
    used: set[str] = set()
    for optimizer, params in PROGRAMS.values():
        (entry,) = trace(optimizer, context(params)).entry_points
        used.update(str(row[0]) for row in entry.scalar_program.rows)
    assert used - {"input", "constant", "cast"} <= abi_page.code()["OPS"].keys()


def table(first_cell: str) -> list[tuple[str, ...]]:
    """The rows of the page's table whose head starts with this cell."""
    lines = pages.read(abi_page.PAGE).splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(f"| {first_cell} |"))
    found: list[tuple[str, ...]] = []
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        found.append(tuple(cell.strip() for cell in line.strip("|").split("|")))
    return found


def words(cell: str) -> list[str]:
    return [word for word in cell.replace("`", " ").split() if word]


def test_every_scalar_op_is_listed() -> None:
    listed = {name: row[1] for row in table("row") for name in words(row[0])}
    assert listed.keys() == OPS.keys() | {"input", "constant", "cast"}
    for name, (arity, _) in OPS.items():
        assert listed[name] == str(arity), name


def test_dtypes_are_listed() -> None:
    dtypes = [name for row in table("dtype") for name in words(row[0])]
    assert sorted(dtypes) == sorted(ITEM_SIZES) == sorted(CASTS)


def test_roles_are_listed_in_order() -> None:
    roles = [name for row in table("role") for name in words(row[0])]
    on_host = ["hyperparameter", "counter"]
    assert [r for r in roles if r in _ROLES] == [*_ROLES, *on_host]
    assert roles[roles.index("input") + 1] == "scalars"


@pytest.mark.compiler
def test_the_page_divides_arenas_as_the_runtime_does(tmp_path: Path) -> None:
    from stepforge.frontend import compile_optimizer  # noqa: PLC0415

    shapes = {"a": "7x5xf32", "b": "33xf32", "c": "200xf32"}
    made, code = compile_optimizer(Adam(), shapes, shards=3), abi_page.code()
    path = made.save(tmp_path / "sharded.vmfb")
    manifest: dict[str, Any] = code["read"](path)
    for rank in range(3):
        ranges = shard_ranges(made.manifest, rank)
        for arena, kept in zip(manifest["arenas"], ranges, strict=True):
            pieces = {x.variable: (x.start, x.stop, x.at) for x in kept.pieces}
            assert code["shard"](manifest, arena, rank) == pieces


def test_initializers_are_listed() -> None:
    kinds = [name for row in table("kind") for name in words(row[0])]
    assert kinds == list(INITIALIZER_KINDS)


def test_random_first_values_are_those_of_the_page() -> None:
    for kind in ("uniform", "normal"):
        drawn = Initializer(kind, seed=7, arguments=(0.0, 1.0))
        variable = Variable("/encoder/w", "parameter", "float32", (3,), initializer=drawn)
        for given in (0, 5):
            text = "[" + ", ".join(f"{x:.8f}" for x in first_value(variable, given)) + "]"
            assert f"`{text}`" in pages.read(abi_page.PAGE)


@pytest.mark.compiler
def test_the_file_is_laid_out_as_the_page_says() -> None:
    data = packed("sgd")
    assert data.startswith(b"PK\x03\x04")
    assert data[-81:-64] == b"stepforge-sha256:"
    assert hashlib.sha256(data[:-64]).hexdigest().encode() == data[-64:]
    assert struct.unpack("<H", data[-83:-81]) == (81,)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        assert archive.namelist() == ["module.fb", "stepforge.json", "graph.json"]
    assert (container.MAX_MANIFEST, container.MAX_GRAPH) == (16 * 2**20, 64 * 2**20)
