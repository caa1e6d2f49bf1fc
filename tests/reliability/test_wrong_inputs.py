"""R13: what is accepted as an array, and what each wrong input is told. Refusals change no bit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from numpy.typing import NDArray

from stepforge import runtime
from stepforge.frontend import Adam, compile_optimizer
from stepforge.frontend.build.artifact import Artifact
from stepforge.runtime.step import CompiledStep
from support import handmade, training
from support.programs import draw

from .places import PLACES, Place

pytestmark = pytest.mark.compiler

Array = NDArray[Any]
Arrays = dict[str, Array]
W = (8, 4)
SHAPES = {"w": W, "b": (4,)}


@pytest.fixture
def parameters() -> Arrays:
    return draw(1, SHAPES, "float32")


@pytest.fixture
def gradients() -> Arrays:
    return draw(2, SHAPES, "float32")


@cache
def artifact(target: str, how: str) -> handmade.Artifact | Artifact:
    """Adam, whose gradients are arguments each, or as it is compiled: parts of one."""
    if how == "apart":
        return handmade.adam(target=target)
    return compile_optimizer(Adam(), {k: (v, "float32") for k, v in SHAPES.items()}, target=target)


APART = [pytest.param((*place.values, "apart"), id=place.id, marks=place.marks) for place in PLACES]
PACKED = [
    pytest.param((*place.values, "packed"), id=f"{place.id}-packed", marks=place.marks)
    for place in PLACES
]
everywhere = pytest.mark.parametrize("step", [*APART, *PACKED], indirect=True)


@pytest.fixture
def step(parameters: Arrays, request: pytest.FixtureRequest) -> Iterator[CompiledStep]:
    """An initialized Adam step; on local-sync where the test says nothing else."""
    place, how = getattr(request, "param", (Place("cpu", "local-sync"), "apart"))
    with artifact(place.target, how).load(device=place.device) as made:
        made.initialize(parameters)
        yield made


class Exported:
    """Another library's array, by one protocol alone."""

    def __init__(self, array: Array) -> None:
        self.array = array


class ByDlpack(Exported):
    def __dlpack__(self, **options: Any) -> Any:
        return self.array.__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self.array.__dlpack_device__()


class ByArray(Exported):
    def __array__(self, dtype: Any = None, copy: Any = None) -> Array:
        return self.array


class Elsewhere(ByDlpack):
    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, **options: Any) -> Any:
        raise BufferError("memory of another device")


def strided(a: Array) -> Array:
    return np.repeat(a, 2, axis=0)[::2]


def unaligned(a: Array) -> Array:
    raw = np.zeros(a.nbytes + 1, np.uint8)
    moved = raw[1:].view(np.float32).reshape(a.shape)
    moved[...] = a
    return moved


def read_only(a: Array) -> Array:
    a = a.copy()
    a.flags.writeable = False
    return a


def strided_unaligned(a: Array) -> Array:
    raw = np.zeros(a.nbytes * 3 + 1, np.uint8)
    spread = raw[1:].view(np.float32).reshape(a.shape[0], -1)[:, ::3]
    spread[...] = a
    return read_only_view(spread)


def read_only_view(a: Array) -> Array:
    view = a.view()
    view.flags.writeable = False
    return view


def repeated(a: Array) -> Array:
    """Rows that are one row, of stride 0, where the values allow it."""
    return np.lib.stride_tricks.as_strided(a[:1], a.shape, (0, a.strides[1]))


ACCEPTED: list[Callable[[Array], Any]] = [
    np.copy,
    strided,
    unaligned,
    strided_unaligned,
    read_only,
    np.asfortranarray,
    lambda a: a[::-1][::-1],
    lambda a: np.broadcast_to(a[:1, :1] * 0 + a, a.shape),
    ByDlpack,
    ByArray,
    lambda a: a.view(np.matrix),
]


@everywhere
@pytest.mark.parametrize("convert", ACCEPTED)
@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_accepted(
    step: CompiledStep, parameters: Arrays, gradients: Arrays, convert: Callable[[Array], Any]
) -> None:
    step.step(gradients)
    expected = handmade.snapshot(step)
    step.initialize({**parameters, "w": convert(parameters["w"])})
    step.step({**gradients, "w": convert(gradients["w"])})
    assert handmade.snapshot(step) == expected


def test_mapping_of_any_kind(step: CompiledStep, gradients: Arrays) -> None:
    class Lazy(dict[str, Array]):
        pass

    step.step(Lazy(gradients))
    step.step(step.gradients)
    assert step.global_step == 2


class Sparse:
    """As scipy's matrices are: an attribute for everything, and no array."""

    shape, dtype, nnz = W, np.dtype(np.float32), 0

    def toarray(self) -> Array:
        return np.zeros(W, np.float32)


@dataclass(frozen=True, slots=True)
class ErrorInput:
    """A value of the wrong kind for a tensor of a shape: the error, and its text."""

    shape: tuple[int, ...]
    value: Any
    kind: type[Exception]
    text: str


# Shapes at the edges: rank 0, one element, none.
EDGES: list[ErrorInput] = [
    ErrorInput((), np.zeros(1, np.float32), runtime.GradientError, r"shape \(\), got \(1,\)"),
    ErrorInput((1,), np.zeros((), np.float32), runtime.GradientError, r"shape \(1,\), got \(\)"),
    ErrorInput((1,), np.float32(1), runtime.GradientError, r"\(1,\), got \(\)"),
    ErrorInput((), [1.0], runtime.GradientError, r"got a list"),
    ErrorInput((), "1", runtime.GradientError, r"got a str"),
    ErrorInput((), None, runtime.GradientError, r"got None"),
    ErrorInput((), np.float64(1), runtime.GradientError, r"dtype float32, got float64"),
    ErrorInput((0,), np.zeros(1, np.float32), runtime.GradientError, r"\(0,\), got \(1,\)"),
    ErrorInput((0, 3), np.zeros((3, 0), np.float32), runtime.GradientError, r"sizes agree"),
    ErrorInput((2, 2), np.zeros((2, 2), "f4,f4"), runtime.GradientError, r"got void64"),
    ErrorInput((2,), np.zeros(2, "M8[s]"), runtime.GradientError, r"got datetime64"),
    ErrorInput((2,), np.zeros(2, bool), runtime.GradientError, r"got bool"),
    ErrorInput((2,), range(2), runtime.GradientError, r"offers neither __dlpack__ nor"),
    ErrorInput((2,), bytearray(8), runtime.GradientError, r"offers neither __dlpack__ nor"),
]


@pytest.mark.parametrize("row", EDGES, ids=lambda row: f"{row.shape}-{type(row.value).__name__}")
def test_refused_at_the_edges(row: ErrorInput) -> None:
    with handmade.sgd({"/w": row.shape}).load() as step:
        step.initialize({"w": np.ones(row.shape, np.float32)})
        before = handmade.snapshot(step)
        with pytest.raises(row.kind, match=row.text):
            step.step({"w": row.value})
        assert handmade.snapshot(step) == before
        step.step({"w": np.ones(row.shape, np.float32)})
        assert step.global_step == 1


REFUSED: list[tuple[Any, str]] = [
    (Sparse(), r"Sparse, which offers neither __dlpack__ nor __array__"),
    (np.zeros((1, 8, 4), np.float32), r"expected shape \(8, 4\), got \(1, 8, 4\); the sizes agree"),
    (np.zeros(W, np.complex128), r"expected dtype float32, got complex128"),
    (np.zeros(W, ">f4").view(np.ndarray), r"in foreign byte order"),
    (np.zeros(W), r"gradient 'w': expected dtype float32, got float64; .*\.astype\(np\.float32\)"),
    (np.zeros(W, np.float16), r"expected dtype float32, got float16"),
    (np.zeros(W, ml_dtypes.bfloat16), r"expected dtype float32, got bfloat16"),
    (np.zeros(W, np.complex64), r"expected dtype float32, got complex64"),
    (np.zeros(W, np.int32), r"expected dtype float32, got int32"),
    (np.zeros(W, ">f4"), r"got float32 in foreign byte order; convert it with"),
    (np.zeros(W, object), r"expected dtype float32, got object"),
    (np.zeros(W, "S4"), r"expected dtype float32, got bytes32"),
    (np.zeros((4, 8), np.float32), r"expected shape \(8, 4\), got \(4, 8\); the sizes agree"),
    (np.zeros(32, np.float32), r"got \(32,\); .* use \.reshape\(\(8, 4\)\)"),
    (np.zeros((8, 5), np.float32), r"expected shape \(8, 4\), got \(8, 5\)$"),
    (np.zeros((), np.float32), r"expected shape \(8, 4\), got \(\)"),
    (np.zeros((0, 4), np.float32), r"got \(0, 4\)"),
    (np.ma.masked_array(np.zeros(W, np.float32)), r"got a masked array; fill it first"),
    (None, r"expected an array of float32\[8, 4\], got None$"),
    ([[0.0] * 4] * 8, r"got a list; make one with np\.asarray\(value, np\.float32\)"),
    (1.0, r"got a float"),
    ("zero", r"got a str"),
    (object(), r"got builtins\.object, which offers neither __dlpack__ nor __array__"),
    (Elsewhere(np.zeros(W, np.float32)), r"cannot be exported: memory of another device; copy it"),
]


@everywhere
@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_refused_gradient(step: CompiledStep, gradients: Arrays, value: Any, message: str) -> None:
    step.step(gradients)
    before = handmade.snapshot(step)
    own = {name: array.copy() for name, array in step.gradients.items()}
    with pytest.raises(runtime.GradientError, match=message):
        step.step({"b": gradients["b"] + 1, "w": value})
    assert handmade.snapshot(step) == before
    for name, array in step.gradients.items():
        np.testing.assert_array_equal(array, own[name])
    step.step(gradients)


@everywhere
@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_refused_parameter(
    step: CompiledStep, parameters: Arrays, value: Any, message: str
) -> None:
    message = message.replace("gradient 'w'", "variable '/w'")
    before = handmade.snapshot(step)
    with pytest.raises(runtime.InputError, match=message):
        step.parameters["w"] = value
    with pytest.raises(runtime.InputError, match=message):
        step.initialize({"b": parameters["b"] + 1, "w": value})
    assert handmade.snapshot(step) == before


NAMES: list[tuple[Callable[[Arrays], Any], str]] = [
    (lambda g: {"w": g["w"]}, r"step 'step': expected one gradient for each of 2 parameters; "
        r"missing: 'b'; not expected: none"),
    (lambda g: {**g, "c": g["b"]}, r"missing: none; not expected: 'c'"),
    (lambda g: {"w": g["w"], "bb": g["b"]}, r"missing: 'b'; not expected: 'bb'; did you mean 'b'"),
    (lambda g: {}, r"missing: 'b', 'w'; not expected: none"),
    (lambda g: {**g, "/w": g["w"]}, r"'w' is given twice, as 'w' and '/w'"),
    (lambda g: list(g.values()), r"expected a mapping of parameter names to arrays, got list"),
    (lambda g: g["w"], r"expected a mapping of parameter names to arrays, got ndarray"),
]  # fmt: skip


@pytest.mark.parametrize(("change", "message"), NAMES)
def test_refused_names(
    step: CompiledStep, gradients: Arrays, change: Callable[[Arrays], Any], message: str
) -> None:
    before = handmade.snapshot(step)
    with pytest.raises(runtime.GradientError, match=message):
        step.step(change(gradients))
    assert handmade.snapshot(step) == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p: {"w": p["w"]}, r"no initializer; missing: 'b'; not expected: none"),
        (lambda p: {**p, "c": p["b"]}, r"missing: none; not expected: 'c'"),
        (lambda p: {"w": p["w"], "bb": p["b"]}, r"not expected: 'bb'; did you mean 'b'"),
        (lambda p: {**p, "/w": p["w"]}, r"'w' is given twice"),
        (lambda p: p["w"], r"initialize: expected a mapping"),
    ],
)
def test_refused_initial_names(
    step: CompiledStep, parameters: Arrays, change: Callable[[Arrays], Any], message: str
) -> None:
    before = handmade.snapshot(step)
    with pytest.raises(runtime.InputError, match=message):
        step.initialize(change(parameters))
    assert handmade.snapshot(step) == before


def test_unknown_names_suggest_the_nearest(step: CompiledStep) -> None:
    with pytest.raises(runtime.UnknownNameError, match=r"no parameter 'ww'; did you mean 'w'"):
        step.parameters["ww"]
    with pytest.raises(runtime.UnknownNameError, match=r"no variable .*did you mean 'global_step'"):
        step.variables["/global_stp"]
    with pytest.raises(KeyError):
        step.gradients["nothing"]
    with pytest.raises(runtime.InputError, match=r"cannot be deleted"):
        del step.parameters["w"]


def test_host_variables_take_numbers_only(step: CompiledStep) -> None:
    for value, message in (
        (np.zeros(2, np.int64), r"expected shape \(\), got \(2,\)"),
        (np.float32(1), r"expected dtype int64, got float32"),
        ("1", r"got a str"),
    ):
        with pytest.raises(runtime.InputError, match=message):
            step.variables["/global_step"] = value
    step.variables["/global_step"] = np.int64(5)
    step.variables["/optimizers/learning_rate"] = np.float32(0.5)
    assert (step.global_step, step.learning_rate) == (5, 0.5)


INTEGERS: list[Any] = [
    (3.7, r"expected an integer from -9223372036854775808 to 9223372036854775807, got 3\.7"),
    (3.0, r"expected an integer from .*, got 3\.0"),
    (float("nan"), r"got nan"),
    (float("inf"), r"got inf"),
    (10**30, r"got an int of 100 bits"),
    pytest.param(10**9999, r"got an int of \d+ bits", id="huge"),
    (2**63, r"got an int of 64 bits"),
    (True, r"got a bool"),
]


@pytest.mark.parametrize(("value", "message"), INTEGERS)
def test_integers_are_not_rounded(step: CompiledStep, value: Any, message: str) -> None:
    before = handmade.snapshot(step)
    with pytest.raises(runtime.InputError, match=message):
        step.variables["/global_step"] = value
    assert handmade.snapshot(step) == before
    step.variables["/global_step"] = 2**63 - 1
    assert step.global_step == 2**63 - 1


def test_a_number_that_is_no_float(step: CompiledStep) -> None:
    with pytest.raises(runtime.InputError, match="expected a float64, got an int of 1329 bits"):
        step.variables["/optimizers/learning_rate"] = 10**400
    step.variables["/optimizers/learning_rate"] = 1
    assert step.learning_rate == 1.0


@pytest.mark.parametrize(("value", "message"), REFUSED)
def test_refused_item_of_the_steps_own_gradients(
    step: CompiledStep, value: Any, message: str
) -> None:
    before = step.gradients["w"].copy()
    with pytest.raises(runtime.GradientError, match=message):
        step.gradients["w"] = value
    np.testing.assert_array_equal(step.gradients["w"], before)


def test_own_gradients_by_item(step: CompiledStep, gradients: Arrays) -> None:
    step.gradients["w"] = gradients["w"]
    step.gradients["/b"] = ByDlpack(gradients["b"])
    step.gradients["b"] += 1
    np.testing.assert_array_equal(step.gradients["w"], gradients["w"])
    np.testing.assert_array_equal(step.gradients["b"], gradients["b"] + np.float32(1))


@pytest.mark.parametrize("name", [1, None, ("w",), ["w"], b"w"])
def test_names_that_are_no_strings(step: CompiledStep, gradients: Arrays, name: Any) -> None:
    before = handmade.snapshot(step)
    lookups = (
        lambda: step.parameters[name],
        lambda: step.variables[name],
        lambda: step.gradients[name],
        lambda: step.view(name),
        lambda: step.hyperparameters[name],
        lambda: step.parameters.__setitem__(name, gradients["w"]),
        lambda: step.hyperparameters.__setitem__(name, 1.0),
    )
    for look in lookups:
        with pytest.raises(runtime.UnknownNameError, match="expected a string, got"):
            look()
    assert name not in step.parameters
    assert name not in step.hyperparameters
    if name is not None:
        with pytest.raises(runtime.UnknownNameError, match="no entry point"):
            step.step(gradients, function=name)
    if not isinstance(name, list):
        given: Any = {**gradients, name: gradients["w"]}
        with pytest.raises(runtime.GradientError, match="expected strings as names, got"):
            step.step(given)
        with pytest.raises(runtime.InputError, match="initialize: expected strings as names"):
            step.initialize(given)
    assert handmade.snapshot(step) == before


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision(dtype: str) -> None:
    kind = np.dtype(np.float16) if dtype == "float16" else np.dtype(ml_dtypes.bfloat16)
    values = np.arange(5).astype(kind)
    with handmade.sgd({"/w": (5,)}, dtype=dtype).load() as step:
        step.initialize({"w": values})
        step.learning_rate = 0.5
        step.step({"w": np.ones(5, kind)})
        np.testing.assert_array_equal(
            step.parameters["w"], (values.astype(np.float64) - 0.5).astype(kind)
        )
        with pytest.raises(runtime.GradientError, match=rf"expected dtype {dtype}, got float32"):
            step.step({"w": np.ones(5, np.float32)})


@pytest.mark.parametrize("shape", [(), (1,), (0,), (3, 0), (2, 1, 3, 1)])
def test_shapes(shape: tuple[int, ...]) -> None:
    value = np.ones(shape, np.float32)
    with handmade.sgd({"/w": shape}).load() as step:
        step.initialize({"w": value})
        step.learning_rate = 0.5
        step.step({"w": value})
        np.testing.assert_array_equal(step.parameters["w"], value * np.float32(0.5))


BATCH = training.batches(1)[0]
INPUTS: list[tuple[dict[str, Any], str]] = [
    ({"x": BATCH["x"]}, r"missing: 'y'; not expected: none"),
    ({**BATCH, "z": BATCH["x"]}, r"missing: none; not expected: 'z'"),
    ({"x": BATCH["x"], "why": BATCH["y"]}, r"missing: 'y'; not expected: 'why'"),
    ({**BATCH, "x": BATCH["x"].astype(np.float64)}, r"input 'x' of train_step.*got float64"),
    ({**BATCH, "x": BATCH["x"].T}, r"input 'x' of train_step.*got \(4, 8\)"),
    ({**BATCH, "x": None}, r"input 'x' of train_step.*got None"),
    ({**BATCH, "y": BATCH["y"][:7]}, r"input 'y' of train_step.*got \(7, 3\)"),
    ({**BATCH, "y": BATCH["y"].tolist()}, r"input 'y' of train_step.*got a list"),
    ({**BATCH, "y": np.ma.masked_array(BATCH["y"])}, r"input 'y' of train_step.*masked array"),
    ({**BATCH, "y": BATCH["y"].astype(">f4")}, r"input 'y' of train_step.*foreign byte order"),
]


def test_refused_batches() -> None:
    with training.load() as step:
        step.train_step(**BATCH)
        before = training.snapshot(step)
        for given, message in INPUTS:
            with pytest.raises(runtime.InputError, match=message):
                step.train_step(**given)
            assert training.snapshot(step) == before
        step.train_step(**BATCH)
        assert step.global_step == 2


@pytest.mark.parametrize("convert", [strided, unaligned, strided_unaligned, read_only, ByDlpack])
def test_accepted_batches(convert: Callable[[Array], Any]) -> None:
    with training.load() as step, training.load() as other:
        converted = {name: convert(value) for name, value in BATCH.items()}
        assert step.train_step(**converted)["loss"] == other.train_step(**BATCH)["loss"]
        assert training.snapshot(step) == training.snapshot(other)


def test_rows_of_stride_zero(step: CompiledStep, gradients: Arrays) -> None:
    same = repeated(gradients["w"])
    step.step({**gradients, "w": same.copy()})
    expected = handmade.snapshot(step)
    with handmade.adam().load() as other:
        other.initialize(draw(1, SHAPES, "float32"))
        other.step({**gradients, "w": same})
        assert handmade.snapshot(other) == expected
