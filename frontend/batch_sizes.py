"""The batch sizes that a training artifact serves: inputs with `?` for their leading dimension.

Shapes stay static: every entry point is traced once for each size, from the same loss function.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, NoReturn, cast

from stepforge.frontend.dtypes import TensorType
from stepforge.frontend.errors import TrainingError
from stepforge.frontend.program import EntryPoint
from stepforge.frontend.tensor_spec import tensor_spec
from stepforge.frontend.training_checks import check_input_names, check_input_types

MAX_SIZES = 12
"""1, 2, 4, ... 2048, say; four functions of each are well within what a manifest may have."""
_OPEN = "?"
_EXAMPLE = 'inputs={"x": "?x64xf32"}, batch_sizes=(1, 8, 32)'

Types = dict[str, TensorType]


def sized_types(inputs: Mapping[str, Any], batch_sizes: Sequence[int] | None) -> dict[str, Types]:
    """The inputs' types for each batch size, by what follows an entry point's name.

    The largest size comes first and has the plain names: {"": {"x": 32x64}, "_b8": {"x": 8x64}}.
    Raises TrainingError for `?` without sizes, sizes without `?`, and sizes that are none.
    """
    check_input_names(inputs)
    opened = {name: rest for name, spec in inputs.items() if (rest := _opened(name, spec))}
    if batch_sizes is None:
        if opened:
            raise TrainingError(
                "an open batch dimension needs the sizes that the artifact is to serve",
                expected=_EXAMPLE,
                got=_shown(inputs, opened),
                hint="give batch_sizes (--batch 1,8,32), or a number in place of ?",
            )
        return {"": _typed(inputs)}
    sizes = sorted(_checked(batch_sizes), reverse=True)
    if not opened:
        raise TrainingError(
            "batch sizes are for inputs with an open batch dimension",
            expected=_EXAMPLE,
            got=_shown(inputs, inputs),
            hint="write ? for the leading dimension of each input that has a row per example",
        )
    return {
        "" if size == sizes[0] else f"_b{size}": _typed(
            {name: opened[name](size) if name in opened else spec for name, spec in inputs.items()}
        )
        for size in sizes
    }


def _typed(inputs: Mapping[str, Any]) -> Types:
    types = {name: tensor_spec(name, spec) for name, spec in inputs.items()}
    check_input_types(types)
    return types


def takes_batches(entry: EntryPoint, sized: Mapping[str, Types]) -> bool:
    """Whether one of the inputs that an entry point takes has another shape for another size."""
    taken = [x.name for x in entry.arguments if x.role == "input"]
    return any(len({types[name].shape for types in sized.values()}) > 1 for name in taken)


def check_same_for_each_size(
    made: Sequence[EntryPoint], first: Sequence[EntryPoint], suffix: str
) -> None:
    """Raises TrainingError where a loss function does other things for another batch size."""
    wanted = {entry.name + suffix: _signature(entry) for entry in first}
    for name, got in {entry.name: _signature(entry) for entry in made}.items():
        if got != wanted.get(name):
            _refuse_other(name, got, wanted.get(name, ["no such entry point"]))
    for name in wanted.keys() - {entry.name for entry in made}:
        _refuse_other(name, ["no such entry point"], wanted[name])


def _signature(entry: EntryPoint) -> list[str]:
    """What an entry point takes and gives."""
    return [
        *(f"takes {x.role} {x.name}" for x in entry.arguments),
        *(f"gives {x.role} {x.name}" for x in entry.results),
    ]


def _refuse_other(name: str, got: Sequence[str], wanted: Sequence[str]) -> NoReturn:
    raise TrainingError(
        "a loss function makes the same variables and outputs for each batch size",
        expected=f"{name}: {_without(wanted, got)}",
        got=_without(got, wanted),
        hint="it may read x.shape[0], and not decide by it what there is",
    )


def _without(texts: Sequence[str], others: Sequence[str]) -> str:
    return ", ".join(text for text in texts if text not in others) or "nothing more"


def _checked(sizes: object) -> Sequence[int]:
    found = _items(sizes)
    whole = all(type(size) is int and 0 < size < 2**31 for size in found)
    if whole and found and len(set(found)) == len(found) <= MAX_SIZES:
        return cast("Sequence[int]", found)
    raise TrainingError(
        "batch sizes are different whole numbers of at least 1",
        expected=f"1 to {MAX_SIZES} of them, such as (1, 8, 32)",
        got=repr(found or sizes),
    )


def _opened(name: str, spec: object) -> Callable[[int], Any] | None:
    """What makes the spec of a size from one with an open dimension; None: it has none."""
    dims, close = _taken_apart(spec)
    places = [i for i, dim in enumerate(dims) if dim is None or dim == _OPEN]
    if not places:
        return None
    if places != [0]:
        raise TrainingError(
            "only the leading dimension of an input may be open: it is the batch's",
            expected='at most one ?, at the beginning, as in "?x64xf32"',
            got=f"{name!r}: {spec!r}",
            hint="write the others as numbers",
        )
    return lambda size: close([size, *dims[1:]])


def _taken_apart(spec: Any) -> tuple[Sequence[Any], Callable[[list[Any]], Any]]:
    """The dimensions of a spec, and what puts others in their place; none of an array."""
    if isinstance(spec, str):
        *dims, dtype = spec.split("x")
        return dims, lambda found: "x".join(map(str, (*found, dtype)))
    if isinstance(spec, Mapping):
        fields = cast("Mapping[str, Any]", spec)
        return _items(fields.get("shape")), lambda found: {**fields, "shape": found}
    if isinstance(spec, (tuple, list)):
        items = cast("Sequence[Any]", spec)
        if len(items) == 2 and _items(items[0]):
            return _items(items[0]), lambda found: (found, items[1])
        return items, lambda found: found
    return (), lambda _: spec


def _items(shape: Any) -> Sequence[Any]:
    return cast("Sequence[Any]", shape) if isinstance(shape, (tuple, list)) else ()


def _shown(inputs: Mapping[str, Any], names: Collection[str]) -> str:
    return ", ".join(f"{name!r}: {inputs[name]!r}" for name in names)
