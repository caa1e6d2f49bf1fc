"""Compile the rows of the table once each, and put artifacts into states that oracles can judge."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

from oracles.inputs import State
from oracles.settings import SLOT_SUFFIXES, Settings
from stepforge import frontend, runtime

from .cases import Place, Row

Array = NDArray[Any]

# Sizes that fill no vector and no workgroup evenly; a step takes 16,386 tuples at once.
SHAPES: Mapping[str, tuple[int, ...]] = {"dense/kernel": (127, 129), "bias": (3,)}
COUNT = sum(int(np.prod(shape)) for shape in SHAPES.values())

HALF_DTYPES: Mapping[str, np.dtype] = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
SLOT_SCOPE = "AdamOptimizer"
COUNTERS = ("/global_step", f"/{SLOT_SCOPE}/step", "/optimizers/cosine_schedule/global_step")


def numpy_dtype(name: str) -> np.dtype:
    return HALF_DTYPES.get(name) or np.dtype(name)


def optimizer_of(row: Row) -> frontend.Optimizer:
    """The row's optimizer; its other settings are in the Context."""
    classes = {
        "sgd": frontend.StochasticGradientDescent,
        "adam": frontend.Adam,
        "adamw": frontend.AdamW,
        "adamax": frontend.Adamax,
        "rmsprop": frontend.RMSProp,
    }
    return classes[row.optimizer](**row.setting.keywords)


def compile_row(row: Row, target: str, folder: Path) -> Path:
    """The artifact of a row for a target."""
    context = frontend.Context()
    context.set_params(row.setting.params)
    parameters = {
        name: {"shape": shape, "dtype": row.setting.dtype} for name, shape in SHAPES.items()
    }
    path = folder / f"{row.name}.{target.replace(':', '-')}.vmfb"
    frontend.compile_optimizer(
        optimizer_of(row), parameters, target=target, context=context, output=path
    )
    return path


class Artifacts:
    """Compiles each (row, target) once a session."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._paths: dict[tuple[str, str], Path] = {}

    def path(self, row: Row, target: str) -> Path:
        key = row.name, target
        if key not in self._paths:
            self._paths[key] = compile_row(row, target, self._folder)
        return self._paths[key]

    @contextmanager
    def stepper(self, row: Row, place: Place) -> Iterator["Stepper"]:
        """The row's artifact loaded at a place, not initialized yet."""
        path = self.path(row, place.target_for(row.setting.dtype))
        with runtime.load(path, device=place.device) as step:
            yield Stepper(row.oracle, numpy_dtype(row.setting.dtype), step)


@dataclass(frozen=True, slots=True)
class Stepper:
    """A loaded artifact whose variables are one long vector to the outside."""

    settings: Settings
    dtype: np.dtype
    """Of parameters and gradients."""
    step: runtime.CompiledStep

    def put(self, state: Mapping[str, Array], t: int) -> None:
        """Make `state` the one before step `t`."""
        self.step.initialize(split(state["parameter"].astype(self.dtype)))
        for slot in self.settings.slots:
            for name, values in split(state[slot]).items():
                self.step.variables[slot_path(name, slot)] = values
        for path in COUNTERS:
            if path in self.step.variables:
                self.step.variables[path] = t - 1

    def take(self, gradient: Array) -> None:
        """One step."""
        self.step.step(split(gradient.astype(self.dtype)))

    def get(self) -> dict[str, Array]:
        """The state now."""
        state = {"parameter": join({name: self.step.parameters[name] for name in SHAPES})}
        for slot in self.settings.slots:
            paths = {name: slot_path(name, slot) for name in SHAPES}
            state[slot] = join({name: self.step.variables[path] for name, path in paths.items()})
        return state

    def run(self, drawn: State, t: int) -> dict[str, Array]:
        """Take step `t` from a drawn state; the state after."""
        self.put(drawn.state, t)
        self.take(drawn.gradient)
        return self.get()


def slot_path(name: str, slot: str) -> str:
    return f"/{SLOT_SCOPE}/{name}{SLOT_SUFFIXES[slot]}"


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
