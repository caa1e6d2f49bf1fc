"""Compile the rows of the table once each, and put artifacts into states that oracles can judge."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from oracles.inputs import State
from oracles.settings import SLOT_SUFFIXES, Settings
from stepforge import frontend, runtime

from .cases import ROWS, Place, Row

Array = NDArray[Any]

# A size that fills no vector and no workgroup evenly, and one smaller than any; a step takes
# 16,516 tuples at once.
SHAPES: Mapping[str, tuple[int, ...]] = {"dense/kernel": (127, 130), "bias": (6,)}
COUNT = sum(int(np.prod(shape)) for shape in SHAPES.values())

HALF_DTYPES: Mapping[str, np.dtype] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
SCHEDULE_COUNTER = "/optimizers/cosine_schedule/global_step"


def numpy_dtype(name: str) -> np.dtype:
    return HALF_DTYPES.get(name) or np.dtype(name)


def optimizer_of(row: Row) -> frontend.Optimizer:
    """The row's optimizer, set up by Context parameters; its scope is the setting's name."""
    classes = {
        "sgd": frontend.StochasticGradientDescent,
        "adam": frontend.Adam,
        "adamw": frontend.AdamW,
        "adamax": frontend.Adamax,
        "rmsprop": frontend.RMSProp,
    }
    context = frontend.Context()
    context.set_params(row.setting.params)
    keywords = {**row.setting.keywords, "scope": row.setting.name}
    return classes[row.optimizer].from_context(context, **keywords)


def compile_rows(rows: Sequence[Row], target: str, path: Path | None = None) -> Any:
    """One artifact with an entry point for each row, all over parameters of the same dtype.

    Most of the time of a small compilation is fixed: together they take half as long.
    """
    entries = {row.setting.name: optimizer_of(row) for row in rows}
    (dtype,) = {row.setting.dtype for row in rows}
    parameters = {name: {"shape": shape, "dtype": dtype} for name, shape in SHAPES.items()}
    return frontend.compile_optimizer(entries, parameters, target=target, output=path)


class Artifacts:
    """Compiles and loads once a session what rows of the same optimizer and dtype share."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[tuple[str, str, str], Path] = {}
        self._steps: dict[tuple[Path, str], runtime.CompiledStep] = {}

    def path(self, row: Row, target: str) -> Path:
        """The artifact of the row, and of its neighbours, for a target."""
        dtype = row.setting.dtype
        key = row.optimizer, dtype, target
        if key not in self._paths:
            shared = [r for r in ROWS if (r.optimizer, r.setting.dtype) == key[:2]]
            path = self._folder / f"{row.optimizer}.{dtype}.{target.replace(':', '-')}.vmfb"
            compile_rows(shared, target, path)
            self._paths[key] = path
        return self._paths[key]

    def stepper(self, row: Row, place: Place) -> "Stepper":
        """The row's entry point, loaded at a place."""
        key = self.path(row, place.target_for(row.setting.dtype)), place.device
        if key not in self._steps:
            self._steps[key] = runtime.load(key[0], device=place.device)
        return Stepper(row, self._steps[key])

    def close(self) -> None:
        for step in self._steps.values():
            step.close()


@dataclass(frozen=True, slots=True)
class Stepper:
    """One row's entry point, whose variables are one long vector to the outside."""

    row: Row
    step: runtime.CompiledStep

    @property
    def settings(self) -> Settings:
        return self.row.oracle

    @property
    def dtype(self) -> np.dtype:
        """Of parameters and gradients."""
        return numpy_dtype(self.row.setting.dtype)

    def start(self, parameter: Array) -> None:
        """Begin anew with these parameters; slots and counters are 0."""
        self.step.initialize(split(parameter.astype(self.dtype)))

    def put(self, state: Mapping[str, Array], t: int) -> None:
        """Make `state` the one before step `t`."""
        self.start(state["parameter"])
        for slot in self.settings.slots:
            for name, values in split(state[slot]).items():
                self.step.variables[self._path(name, slot)] = values
        for path in ("/global_step", f"/{self.row.setting.name}/step", SCHEDULE_COUNTER):
            if path in self.step.variables:
                self.step.variables[path] = t - 1

    def take(self, gradient: Array) -> None:
        """One step."""
        self.step.step(split(gradient.astype(self.dtype)), function=self.row.setting.name)

    def get(self) -> dict[str, Array]:
        """The state now."""
        state = {"parameter": join({name: self.step.parameters[name] for name in SHAPES})}
        for slot in self.settings.slots:
            paths = {name: self._path(name, slot) for name in SHAPES}
            state[slot] = join({name: self.step.variables[path] for name, path in paths.items()})
        return state

    def run(self, drawn: State, t: int) -> dict[str, Array]:
        """Take step `t` from a drawn state; the state after."""
        self.put(drawn.state, t)
        self.take(drawn.gradient)
        return self.get()

    def _path(self, name: str, slot: str) -> str:
        return f"/{self.row.setting.name}/{name}{SLOT_SUFFIXES[slot]}"


def split(values: Array) -> dict[str, Array]:
    """A vector of COUNT elements as the artifact's variables."""
    parts: dict[str, Array] = {}
    start = 0
    for name, shape in SHAPES.items():
        size = int(np.prod(shape))
        parts[name] = values[start : start + size].reshape(shape)
        start += size
    return parts


def join(parts: Mapping[str, Array]) -> Array:
    """The inverse of `split`."""
    return np.concatenate([np.asarray(parts[name]).reshape(-1) for name in SHAPES])


def pieces(drawn: State) -> list[State]:
    """A drawn state of any length in pieces of COUNT, the last filled up with its first tuple."""
    missing = -len(drawn.gradient) % COUNT

    def cut(values: Array) -> list[Array]:
        filled = np.concatenate([values, np.full(missing, values[0], values.dtype)])
        return list(filled.reshape(-1, COUNT))

    columns = {name: cut(values) for name, values in drawn.state.items()}
    return [
        State(state={name: column[i] for name, column in columns.items()}, gradient=gradient)
        for i, gradient in enumerate(cut(drawn.gradient))
    ]


def by_variable(state: Mapping[str, Array]) -> list[dict[str, Array]]:
    """A state of long vectors as one state for each variable: clip_nan looks at whole tensors."""
    parts = {name: split(values) for name, values in state.items()}
    return [{name: part[variable] for name, part in parts.items()} for variable in SHAPES]
