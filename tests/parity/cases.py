"""The parity table as data: what to compile, and which oracle says what it must do.

A row is an optimizer in a setting; a cell is a row on a backend. Exceptions are columns: a
backend that refuses a dtype says so in its row.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from oracles.bars import Backend
from oracles.settings import OPTIMIZERS, Cosine, OptimizerName, Settings, settings_for


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Setting:
    """Context parameters, and the same in the oracle's words."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict[str, Any])
    oracle: Mapping[str, Any] = field(default_factory=dict[str, Any])
    dtype: str = "float32"
    """Of parameters and gradients; slots and arithmetic are float32 in every row."""
    only: tuple[OptimizerName, ...] = OPTIMIZERS
    keywords: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """For what no Context parameter says."""


COSINE = Cosine(period=100, warm_up=5, minimum=1e-5)

SETTINGS = (
    Setting(name="default"),
    Setting(
        name="weight_decay",
        params={"adam_weight_decay": 0.05},
        oracle={"weight_decay": 0.05},
    ),
    Setting(
        name="clip_by_value",
        params={"clip_step_by_value": 5e-4},
        oracle={"clip_step_by_value": 5e-4},
    ),
    Setting(name="clip_nan", params={"clip_nan": True}, oracle={"clip_nan": True}),
    Setting(name="backoff", params={"adam_backoff": 3}, oracle={"backoff_steps": 3}),
    Setting(name="float16", params={"adam_dtype": "float32"}, dtype="float16"),
    Setting(name="bfloat16", params={"adam_dtype": "float32"}, dtype="bfloat16"),
    Setting(
        name="cosine",
        params={
            "cosine_schedule_steps": 100,
            "cosine_schedule_warmup_steps": 5,
            "cosine_schedule_min_learning_rate": 1e-5,
        },
        oracle={"cosine": COSINE},
    ),
    Setting(
        name="constant_rate",
        oracle={"decay": False},
        only=("sgd",),
        keywords={"decay": False},
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One optimizer in one setting: one artifact for each target."""

    optimizer: OptimizerName
    setting: Setting

    @property
    def name(self) -> str:
        return f"{self.optimizer}-{self.setting.name}"

    @property
    def oracle(self) -> Settings:
        return settings_for(self.optimizer, **self.setting.oracle)

    @property
    def is_half(self) -> bool:
        return self.setting.dtype != "float32"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Where artifacts run: a target to compile for, a device to step on, the bars that hold."""

    name: str
    target: str
    device: str
    bars: Backend
    marks: tuple[pytest.MarkDecorator, ...] = ()
    refuses: tuple[str, ...] = ()
    """dtypes that do not compile for the target: a documented error."""
    wide_target: str = ""
    """A target of the same device that takes the refused dtypes, if there is one."""

    @property
    def is_ieee(self) -> bool:
        """Overflow happens where the formula is written to: Vulkan may multiply in any order."""
        return self.bars != "vulkan"

    def target_for(self, dtype: str) -> str:
        """What to compile for with variables of `dtype`; empty where it is refused."""
        return self.wide_target if dtype in self.refuses else self.target


PLACES = (
    Place(name="cpu-sync", target="cpu", device="local-sync", bars="cpu"),
    Place(name="cpu-task", target="cpu", device="local-task", bars="cpu"),
    Place(
        name="vulkan",
        target="vulkan",
        device="vulkan",
        bars="vulkan",
        marks=(pytest.mark.vulkan,),
        refuses=("float16", "bfloat16"),
        wide_target="vulkan:llvmpipe",
    ),
    Place(name="vmvx", target="vmvx", device="local-sync", bars="vmvx", refuses=("float16",)),
)

ROWS = tuple(
    Row(optimizer=optimizer, setting=setting)
    for optimizer in OPTIMIZERS
    for setting in SETTINGS
    if optimizer in setting.only
)


def cells(keep: Callable[[Row], bool] = lambda _: True) -> list[Any]:
    """pytest parameters (row, place) of the table's cells, less those that are refused."""
    return [
        pytest.param(row, place, id=f"{row.name}-{place.name}", marks=place.marks)
        for row in ROWS
        for place in PLACES
        if keep(row) and place.target_for(row.setting.dtype)
    ]
