"""The manifest's JSON: compact, canonical, strict, bounded."""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stepforge.runtime.errors import ArtifactError, ArtifactFormatError, VersionMismatchError
from stepforge.runtime.manifest import (
    Argument,
    Function,
    Group,
    Hyperparameter,
    Initializer,
    Manifest,
    Result,
    ScalarProgram,
    Target,
    Variable,
)
from stepforge.runtime.manifest_check import check
from stepforge.runtime.manifest_encode import runs, to_json
from stepforge.runtime.manifest_parse import from_json
from support import handmade

SHAPES = {"/encoder/w": (64, 32), "/encoder/b": (32,)}


def small() -> Manifest:
    return handmade.adam_manifest(SHAPES)


def large(count: int) -> Manifest:
    shapes = {
        f"/encoder/layer_{i // 16}/part_{i % 16}/weight": (384, i % 5 + 1) for i in range(count)
    }
    made = handmade.adam_manifest(shapes)
    names = list(shapes)
    groups = (
        Group(handmade.HYPERPARAMETERS, tuple(names[0::2])),
        Group(handmade.HYPERPARAMETERS[1:], tuple(names[1::2])),
    )
    variables = tuple(
        dataclasses.replace(v, group=names.index(v.of or v.name) % 2)
        if v.name in shapes or v.of
        else v
        for v in made.variables
    )
    return dataclasses.replace(made, groups=groups, variables=variables)


def full() -> Manifest:
    """One of everything that the format can say."""
    base = small()
    drawn = Initializer("normal", None, -5, (0.0, 1.0))
    true = Initializer("constant", True)
    extra = (
        Variable("/noise", "buffer", "bfloat16", (3,), initializer=drawn),
        Variable("/flag", "buffer", "bool", storage="host", initializer=true),
        Variable(
            "/odd_slot",
            "slot",
            "float64",
            (2,),
            initializer=Initializer("constant", float("inf")),
            slot="odd",
            of="/encoder/w",
            trainable=False,
        ),
    )
    rows = (
        ("input", handmade.LEARNING_RATE),
        ("constant", float("-inf")),
        ("maximum", 0, 1),
        ("cast", 2, "float64"),
        ("input", handmade.GLOBAL_STEP),
        ("constant", 1),
        ("add", 4, 5),
    )
    table = ScalarProgram("float64", rows, (2, 3), ((handmade.GLOBAL_STEP, 6),))
    parameter = base.variables[0]
    function = Function(
        "other",
        (
            Argument(parameter.name, "parameter", "float32", parameter.shape, result=1),
            Argument("x", "input", "int8", (4, 4)),
            Argument("scalars", "scalars", "float64", (2,)),
        ),
        (
            Result("nonfinite/encoder/w", "output", "int32"),
            Result(parameter.name, "state", "float32", parameter.shape),
        ),
        table,
    )
    numbers = Function(
        "numbers",
        (Argument(handmade.LEARNING_RATE, "hyperparameter", "float32", derive="log"),),
        (),
    )
    settings_ = (
        Hyperparameter("optimizer", "adamw"),
        Hyperparameter("adam_backoff", 5),
        Hyperparameter("clip_nan", True, aliases=("nan", "clip")),
        Hyperparameter("adam_beta1", 0.1),
        Hyperparameter("learning_rate", 1e-3, True, handmade.LEARNING_RATE),
    )
    target = Target(
        "vulkan:llvmpipe", "vulkan-spirv", "vulkan", "", "", (), ("f16", "i64"), True, "llvmpipe",
        8, ("vulkan1.3",),
    )  # fmt: skip
    return dataclasses.replace(
        base,
        targets=(target,),
        functions=(*base.functions, function, numbers),
        variables=(*base.variables, *extra),
        groups=(Group(settings_, ("/encoder/w",), "other"), Group(settings_[:1])),
        nan_tracing=True,
        facts=(("b", "2"), ("a", "1")),
    )


SUMS = Result("sum_of_squares", "partials", "float32", (1,))


def with_phases(**fields: Any) -> Manifest:
    """`step` in two phases, of which `fields` are changed in the first."""
    base = small()
    step = base.functions[0]
    gradients = tuple(a for a in step.arguments if a.role == "gradient")
    first = dataclasses.replace(Function("reduce", gradients, (SUMS,)), **fields)
    taken = Argument(SUMS.name, "partials", SUMS.dtype, SUMS.shape)
    place = step.arguments.index(gradients[-1]) + 1
    arguments = (*step.arguments[:place], taken, *step.arguments[place:])
    second = dataclasses.replace(step, name="apply", arguments=arguments)
    return dataclasses.replace(base, functions=(step, first, second))


@pytest.mark.parametrize("manifest", [small(), full(), large(50), with_phases()])
def test_round_trip(manifest: Manifest) -> None:
    check(manifest)
    data = to_json(manifest)
    back = from_json(data)
    assert back == manifest
    # By repr too: 0, 0.0 and False are equal and must not be confused.
    assert repr(back) == repr(manifest)
    assert to_json(back) == data


def test_canonical() -> None:
    data = to_json(small())
    assert b"\n" not in data
    assert json.dumps(json.loads(data), sort_keys=True, separators=(",", ":")).encode() == data


def test_a_thousand_tensors_stay_small() -> None:
    data = to_json(large(1000))
    assert len(zlib.compress(data, 9)) < 16_000


def test_slots_are_written_by_rule() -> None:
    document = json.loads(to_json(small()))
    rules = [block for block in document["variables"] if "of" in block]
    assert [(r["prefix"], r["suffix"], r["of"]) for r in rules] == [
        ("/AdamOptimizer", "_1st_moment", [[0, 1, 2]]),
        ("/AdamOptimizer", "_2nd_moment", [[0, 1, 2]]),
    ]


def test_float_hyperparameters_have_decimal_and_hexadecimal() -> None:
    document = json.loads(to_json(small()))
    found = {h["name"]: h for h in document["groups"][0]["hyperparameters"]}
    assert found["adam_epsilon"]["value"] == "1e-07"
    assert found["adam_epsilon"]["hex"] == (1e-7).hex()
    assert found["clip_nan"]["value"] is False


def bounded(**bounds: Any) -> Manifest:
    return dataclasses.replace(small(), groups=(Group((Hyperparameter("x", 0.5, **bounds),)),))


@pytest.mark.parametrize(
    "bounds", [{}, {"minimum": 0.0}, {"below": 1.0}, {"minimum": -1, "below": 0}]
)
def test_bounds_are_written_where_there_are_some(bounds: dict[str, float]) -> None:
    data = to_json(bounded(**bounds))
    row = json.loads(data)["groups"][0]["hyperparameters"][0]
    assert {key: row[key] for key in ("minimum", "below") if key in row} == bounds
    assert from_json(data) == bounded(**bounds)


def test_runs() -> None:
    assert list(runs([0, 1, 2, 7, 9, 11, 3])) == [(0, 1, 3), (7, 2, 3), (3, 1, 1)]
    assert list(runs([])) == []


@given(st.lists(st.integers(0, 20), max_size=30))
def test_runs_give_the_indices_back(indices: list[int]) -> None:
    found = [
        i
        for first, stride, count in runs(indices)
        for i in range(first, first + stride * count, stride)
    ]
    assert found == indices


# Rules.


def changed(index: int, **fields: Any) -> Manifest:
    base = small()
    variables = list(base.variables)
    variables[index] = dataclasses.replace(variables[index], **fields)
    return dataclasses.replace(base, variables=tuple(variables))


def with_function(**fields: Any) -> Manifest:
    base = small()
    return dataclasses.replace(base, functions=(dataclasses.replace(base.functions[0], **fields),))


def with_argument(index: int, **fields: Any) -> Manifest:
    arguments = list(small().functions[0].arguments)
    arguments[index] = dataclasses.replace(arguments[index], **fields)
    return with_function(arguments=tuple(arguments))


def with_group(**fields: Any) -> Manifest:
    return dataclasses.replace(small(), groups=(Group((), **fields),))


def program(*rows: tuple[Any, ...], **fields: Any) -> ScalarProgram:
    return ScalarProgram("float32", rows, **fields)


COUNT = Result("nonfinite_count", "partials", "int32", (1,))
RULES: list[tuple[Manifest, str]] = [
    (with_phases(results=(COUNT,)), "function 'apply': partials that no first phase gives"),
    (with_phases(results=()), "function 'apply': partials that no first phase gives"),
    (with_phases(name="reduces"), "function 'reduces': partials of no step's phase"),
    (
        with_phases(results=(Result("x", "output", "int32"), SUMS)),
        "function 'reduce': results besides the partials",
    ),
    (
        with_phases(results=(SUMS, COUNT)),
        "function 'reduce': partials of no step's phase",
    ),
    (dataclasses.replace(small(), targets=()), "exactly one target"),
    (dataclasses.replace(small(), targets=(Target("x", "x", "tpu"),)), "target device 'tpu'"),
    (dataclasses.replace(small(), alignment=48), "power of two"),
    (changed(0, name="w"), "a path starts with '/'"),
    (changed(0, name="/w\n"), "not a printable name"),
    (changed(0, name="/encoder/b"), "variable names must differ"),
    (changed(0, role="weight"), "role 'weight' is none of"),
    (changed(0, dtype="float8"), "dtype 'float8' is none of"),
    (changed(0, shape=(-1,)), "negative size"),
    (changed(0, shape=(2**40, 2**40)), "bytes, at most"),
    (changed(0, shape=(0, 2**40, 2**40)), "bytes, at most"),
    (changed(0, storage="disk"), "storage 'disk' is none of"),
    (changed(0, storage="host", shape=()), "parameters live on the device"),
    (changed(2, of="/none"), "follows its parameter; '/none' is none before it"),
    (changed(2, of=None), "'slot' and 'of' come together"),
    (changed(0, group=3), "no group 3"),
    (changed(6, shape=(1,)), "a host variable is rank 0"),
    (changed(0, initializer=Initializer("magic")), "initializer kind 'magic'"),
    (changed(0, initializer=Initializer("constant")), "initializer value"),
    (changed(0, initializer=Initializer("uniform", seed=1)), "initializer arguments"),
    (changed(0, initializer=Initializer("he_normal")), "initializer seed"),
    (with_function(name="a b"), "not an identifier"),
    (with_function(parameters=("/none",)), "'/none' is no parameter"),
    (with_function(parameters=("/encoder/w",) * 2), "a parameter comes twice"),
    (with_function(arguments=small().functions[0].arguments[:1] * 2), "an argument comes twice"),
    (with_function(results=small().functions[0].results[:1] * 2), "a result comes twice"),
    (with_function(results=()), "result 0 cannot replace it"),
    (with_argument(0, role="weights"), "role 'weights'"),
    (with_argument(0, role="slot"), "no slot of that name"),
    (with_argument(0, dtype="float64"), "dtype and shape are not the variable's"),
    (with_argument(0, result=None), "each state result replaces one argument"),
    (with_argument(0, result=1), "result 1 has another name"),
    (with_argument(0, derive="log"), "derived from no host float"),
    (with_argument(8, derive="square"), "derive 'square' is none of"),
    (with_argument(6, shape=(1,)), "no parameter of that name and shape"),
    (with_function(scalars=program(("cast", 0, "int64"))), "operand 0 is no earlier row"),
    (with_function(scalars=program(("sum", 1, 2))), r"row 0 \['sum', 1, 2\]: expected"),
    (with_function(scalars=program(("constant", 1), table=(3,))), "one 'scalars' argument"),
    (with_function(scalars=program(("constant", 1), results=(("/global_step", 3),))), "no row 3"),
    (with_function(scalars=program(("input", "/encoder/w"))), "which is no host variable"),
    (with_group(variables=("/none",)), "'/none' is no parameter"),
    (with_group(variables=("/encoder/w",) * 2), "a variable comes twice"),
    (with_group(function="none"), "no function 'none'"),
    (
        dataclasses.replace(small(), groups=(Group((Hyperparameter("x", 1.0, True),)),)),
        "'x' is settable through nothing",
    ),
    (
        dataclasses.replace(small(), groups=(Group((Hyperparameter("x", float("nan")),)),)),
        "'x' is not finite",
    ),
    (
        dataclasses.replace(small(), groups=(Group((Hyperparameter("x", 1),) * 2),)),
        "hyperparameter names must differ",
    ),
    (bounded(minimum=float("-inf")), "a bound of 'x' is not finite"),
    (bounded(minimum=1.0, below=1.0), "no value of 'x' is within its bounds"),
]


@pytest.mark.parametrize(("manifest", "message"), RULES)
def test_rules(manifest: Manifest, message: str) -> None:
    with pytest.raises(ArtifactFormatError, match=message):
        check(manifest)


def test_host_scalars_come_last() -> None:
    arguments = small().functions[0].arguments
    with pytest.raises(ArtifactFormatError, match="host scalars come after all tensors"):
        check(with_function(arguments=(*arguments[-1:], *arguments[:-1])))


def test_versions() -> None:
    with pytest.raises(VersionMismatchError, match="format version 2, ABI 1"):
        check(dataclasses.replace(small(), format_version=2))
    with pytest.raises(VersionMismatchError, match="format version 1, ABI 2"):
        check(dataclasses.replace(small(), abi=2))


# Hostile JSON.


def edited(edit: Callable[[Any], object]) -> bytes:
    document = json.loads(to_json(small()))
    edit(document)
    return json.dumps(document).encode()


EDITS: list[tuple[Callable[[Any], object], str]] = [
    (lambda d: d.pop("groups"), "expected the keys"),
    (lambda d: d.update(more=1), "expected the keys"),
    (lambda d: d.update(alignment="64"), r"\.alignment: expected an integer"),
    (lambda d: d.update(alignment=True), r"\.alignment: expected an integer"),
    (lambda d: d.update(formula="x" * 2000), "a string of at most 1024 characters"),
    (lambda d: d.update(nan_tracing=0), "expected true or false"),
    (lambda d: d.update(functions={}), "expected a list"),
    (lambda d: d.update(functions=[d["functions"][0]] * 65), "at most 64 items"),
    (lambda d: d["variables"][0].update(initializer=99), "expected an integer from 0 to"),
    (lambda d: d["variables"][0]["rows"].append(["/x"]), r"expected \[name, shape, group\]"),
    (lambda d: d["variables"][0]["rows"][0].__setitem__(1, [1] * 17), "at most 16 items"),
    (lambda d: d["variables"][1].update(of=[[0, 1, 10**9]]), r"within a table of 2 entries"),
    (lambda d: d["variables"][1].update(of=[[0, 0, 1]]), r"expected \[first, stride, count\]"),
    (lambda d: d["functions"][0]["arguments"][0].update(of=[[0, 1]]), r"\[first, stride, count\]"),
    (lambda d: d["groups"][0]["hyperparameters"][0].update(hex="zz"), "a hexadecimal float"),
    (lambda d: d["groups"][0]["hyperparameters"][0].update(value="2"), "the decimal text 0.001"),
    (lambda d: d["groups"][0]["hyperparameters"][3].update(value=0.5), "a float also has 'hex'"),
    (lambda d: d["groups"][0]["hyperparameters"][0].update(below="1"), r"below: expected a number"),
    (lambda d: d["groups"][0]["hyperparameters"][0].update(minimum=True), r"expected a float"),
    (lambda d: d.update(facts=[["a"]]), "a pair of strings"),
]


@pytest.mark.parametrize(("edit", "message"), EDITS)
def test_hostile_json(edit: Callable[[Any], object], message: str) -> None:
    with pytest.raises(ArtifactFormatError, match=message):
        from_json(edited(edit))


@pytest.mark.parametrize(
    "text",
    [b"", b"{", b"\xff", b"[" * 50_000, b'{"a":1,"a":1}', b'{"a":NaN}', b"9" * 10_000, b"[]"],
)
def test_no_json_of_ours(text: bytes) -> None:
    with pytest.raises(ArtifactFormatError):
        from_json(text)


def test_expansion_is_bounded() -> None:
    """A few bytes cannot name a million arguments a thousand times."""
    document = json.loads(to_json(small()))
    block = {"derive": "value", "of": [[0, 1, 8]], "result": None, "role": "parameter"}
    document["functions"][0]["arguments"] = [block] * 50_000
    with pytest.raises(ArtifactFormatError, match="at most 400000 arguments"):
        from_json(json.dumps(document).encode())


def test_a_list_has_each_variable_once() -> None:
    with pytest.raises(ArtifactFormatError, match="each variable once in a list of them"):
        from_json(edited(lambda d: d["groups"][0].update(variables=[[0, 1, 1]] * 1_000)))


def test_runs_are_bounded() -> None:
    with pytest.raises(ArtifactFormatError, match="at most 20000 items"):
        from_json(edited(lambda d: d["groups"][0].update(variables=[[0, 1, 1]] * 20_001)))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=5,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    found = [path]
    if isinstance(value, dict):
        for key in value:
            found += places(value[key], (*path, key))
    if isinstance(value, list):
        for index, item in enumerate(value):
            found += places(item, (*path, index))
    return found


DOCUMENT = json.loads(to_json(full()))
PLACES = places(DOCUMENT)


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(PLACES[1:]), json_values)
def test_any_replaced_value_gives_our_error_or_a_manifest(
    place: tuple[Any, ...], value: Any
) -> None:
    document = json.loads(json.dumps(DOCUMENT))
    target = document
    for key in place[:-1]:
        target = target[key]
    target[place[-1]] = value
    try:
        check(from_json(json.dumps(document).encode()))
    except ArtifactError:
        pass


@settings(max_examples=500, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_give_our_error(data: bytes) -> None:
    with pytest.raises(ArtifactFormatError):
        from_json(data)
