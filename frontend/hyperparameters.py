"""The hyperparameters that a Context may hold: their names, types, defaults and bounds.

The names are the seed's, so that its settings can be used unchanged. Everywhere the same rule
decides a value: an explicit argument, else the nearest Context parameter, else the default.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal, TypeAlias, TypeVar, cast

import numpy as np

from stepforge.frontend.dtypes import DType
from stepforge.frontend.errors import FrontendError, HyperparameterError
from stepforge.frontend.nan_tracing import Tracer
from stepforge.frontend.nearest import unknown_name
from stepforge.frontend.settable import Schedule, Settable

PARAM_OPTIMIZER = "optimizer"
PARAM_LEARNING_RATE = "learning_rate"
LEARNING_RATE_KEY = PARAM_LEARNING_RATE
"""Deprecated: use PARAM_LEARNING_RATE."""
PARAM_CLIP_STEP_BY_VALUE = "clip_step_by_value"
PARAM_CLIP_NAN = "clip_nan"
PARAM_CLIP_GLOBAL_NORM = "clip_global_norm"
PARAM_LOSS_SCALE = "loss_scale"
PARAM_EMA_DECAY = "ema_decay"
PARAM_SKIP_NONFINITE = "skip_nonfinite"
PARAM_NAN_LOGGER = "nanlogger"
PARAM_SLOT_DTYPE = "slot_dtype"
PARAM_STOCHASTIC_ROUNDING = "stochastic_rounding"
PARAM_MASTER_WEIGHTS = "master_weights"
PARAM_ADAM_EPSILON = "adam_epsilon"
PARAM_ADAM_DTYPE = "adam_dtype"
PARAM_ADAM_WEIGHT_DECAY = "adam_weight_decay"
PARAM_ADAM_BETA1 = "adam_beta1"
PARAM_ADAM_BETA2 = "adam_beta2"
PARAM_ADAM_BACKOFF_STEPS = "adam_backoff"
PARAM_COSINE_SCHEDULE_STEPS = "cosine_schedule_steps"
PARAM_COSINE_SCHEDULE_CYCLES = "cosine_schedule_cycles"
PARAM_COSINE_SCHEDULE_WARM_UP_STEPS = "cosine_schedule_warmup_steps"
PARAM_COSINE_SCHEDULE_MIN_LEARNING_RATE = "cosine_schedule_min_learning_rate"
PARAM_COSINE_SCHEDULE_LEARNING_RATE = "cosine_schedule_learning_rate"
PARAM_TRAIN_LAST_STEP = "train_last_global_step"

Kind: TypeAlias = Literal["float", "integer", "bool", "text", "tracer"]
Plain: TypeAlias = "float | int | bool | str"
ParameterValue: TypeAlias = "Plain | Settable | Schedule | Tracer"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperparameterSpec:
    """One row of the table. A numeric one may be Settable; a float may be a Schedule too."""

    name: str
    kind: Kind
    default: Plain | None
    """None: the optimizer's class decides."""
    minimum: float | None = None
    below: float | None = None
    """The value must be smaller than this."""
    choices: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    doc: str

    @property
    def is_numeric(self) -> bool:
        return self.kind in ("float", "integer")

    def describe(self) -> str:
        """The accepted values in words, as error messages and help texts say them."""
        if self.choices:
            return "one of " + ", ".join(repr(c) for c in self.choices)
        if self.kind == "tracer":
            return "True or a Tracer"
        words = {"float": "a number", "integer": "an integer", "bool": "True or False"}
        text = words.get(self.kind, "a text")
        if self.minimum is not None:
            text += f" of at least {self.minimum:g}"
        return text if self.below is None else f"{text} and below {self.below:g}"


_ROWS = (
    HyperparameterSpec(
        name=PARAM_OPTIMIZER,
        kind="text",
        default="adamw",
        doc="The optimizer that `from_context` makes: a name in KNOWN_OPTIMIZERS.",
    ),
    HyperparameterSpec(
        name=PARAM_LEARNING_RATE,
        kind="float",
        default=None,
        minimum=0.0,
        doc="The first learning rate (sgd 0.1, others 0.001); always settable.",
    ),
    HyperparameterSpec(
        name=PARAM_CLIP_STEP_BY_VALUE,
        kind="float",
        default=0.0,
        minimum=0.0,
        doc="Limits each element of the step, learning rate included; 0 is off.",
    ),
    HyperparameterSpec(
        name=PARAM_CLIP_NAN,
        kind="bool",
        default=False,
        doc="Takes a gradient with any NaN or infinity as zero, and keeps old values instead of "
        "new ones that are not finite.",
    ),
    HyperparameterSpec(
        name=PARAM_CLIP_GLOBAL_NORM,
        kind="float",
        default=0.0,
        minimum=0.0,
        doc="Limits the L2 norm of all gradients of a step together; 0 is off.",
    ),
    HyperparameterSpec(
        name=PARAM_LOSS_SCALE,
        kind="float",
        default=1.0,
        minimum=2.0**-24,
        doc="Gradients are divided by it, as the loss was multiplied; 1 is off.",
    ),
    HyperparameterSpec(
        name=PARAM_EMA_DECAY,
        kind="float",
        default=0.0,
        minimum=0.0,
        below=1.0,
        doc="Decay of a moving average of each parameter, kept beside it; 0 is off.",
    ),
    HyperparameterSpec(
        name=PARAM_SKIP_NONFINITE,
        kind="bool",
        default=False,
        doc="Leaves everything as it is, and counts, where any gradient has a NaN or infinity.",
    ),
    HyperparameterSpec(
        name=PARAM_NAN_LOGGER,
        kind="tracer",
        default=None,
        doc="Counts the non-finite values of every gradient, for a logger. Never saved.",
    ),
    HyperparameterSpec(
        name=PARAM_SLOT_DTYPE,
        kind="text",
        default="",
        choices=("", "bfloat16", "int8"),
        doc="What slots are stored in; empty is the dtype of the arithmetic; int8 is block-wise.",
    ),
    HyperparameterSpec(
        name=PARAM_STOCHASTIC_ROUNDING,
        kind="bool",
        default=False,
        doc="Rounds what is stored in bfloat16 up or down by chance, right on average.",
    ),
    HyperparameterSpec(
        name=PARAM_MASTER_WEIGHTS,
        kind="bool",
        default=False,
        doc="Keeps 16-bit parameters in the dtype of the arithmetic too, and updates those.",
    ),
    HyperparameterSpec(
        name=PARAM_ADAM_EPSILON,
        kind="float",
        default=1e-7,
        minimum=0.0,
        doc="Added to the denominator of the Adam family, outside the square root.",
    ),
    HyperparameterSpec(
        name=PARAM_ADAM_DTYPE,
        kind="text",
        default="",
        choices=("", "float32", "float64"),
        doc="The dtype of the Adam family's slots and arithmetic; empty is the loss's.",
    ),
    HyperparameterSpec(
        name=PARAM_ADAM_WEIGHT_DECAY,
        kind="float",
        default=None,
        minimum=0.0,
        aliases=("weight_decay",),
        doc="Decoupled weight decay of the Adam family (adamw 0.004, others 0).",
    ),
    HyperparameterSpec(
        name=PARAM_ADAM_BETA1,
        kind="float",
        default=0.9,
        minimum=0.0,
        below=1.0,
        doc="Decay of the moving average of gradients.",
    ),
    HyperparameterSpec(
        name=PARAM_ADAM_BETA2,
        kind="float",
        default=0.999,
        minimum=0.0,
        below=1.0,
        doc="Decay of the moving average of squared gradients (Adamax: of their maximum).",
    ),
    HyperparameterSpec(
        name=PARAM_ADAM_BACKOFF_STEPS,
        kind="integer",
        default=0,
        doc="So many first steps change the slots only; 0 or less is off.",
    ),
    HyperparameterSpec(
        name=PARAM_COSINE_SCHEDULE_STEPS,
        kind="integer",
        default=0,
        doc="Period of the cosine schedule in steps; 0 is off; -n means n cycles.",
    ),
    HyperparameterSpec(
        name=PARAM_COSINE_SCHEDULE_CYCLES,
        kind="integer",
        default=0,
        minimum=0,
        doc="Cycles of the cosine schedule over the whole training; 0 is off.",
    ),
    HyperparameterSpec(
        name=PARAM_COSINE_SCHEDULE_WARM_UP_STEPS,
        kind="integer",
        default=0,
        minimum=0,
        doc="So many first steps raise the rate linearly from the minimum.",
    ),
    HyperparameterSpec(
        name=PARAM_COSINE_SCHEDULE_MIN_LEARNING_RATE,
        kind="float",
        default=0.0,
        minimum=0.0,
        doc="The rate at the end of each period.",
    ),
    HyperparameterSpec(
        name=PARAM_COSINE_SCHEDULE_LEARNING_RATE,
        kind="float",
        default=None,
        minimum=0.0,
        doc="The rate at the start of each period; by default learning_rate.",
    ),
    HyperparameterSpec(
        name=PARAM_TRAIN_LAST_STEP,
        kind="integer",
        default=-1,
        doc="Steps of the whole training, for cosine cycles; always settable; -1 is unknown.",
    ),
)
KNOWN_HYPERPARAMETERS: Mapping[str, HyperparameterSpec] = MappingProxyType(
    {row.name: row for row in _ROWS}
)
ONE_FOR_ALL = frozenset(
    {
        *(PARAM_OPTIMIZER, PARAM_ADAM_DTYPE, PARAM_TRAIN_LAST_STEP),
        *(PARAM_CLIP_GLOBAL_NORM, PARAM_LOSS_SCALE, PARAM_SKIP_NONFINITE),
        *(name for name in KNOWN_HYPERPARAMETERS if name.startswith("cosine_schedule_")),
    }
)
"""Those that an optimizer reads once, for all parameters; no rule gives them to some."""
OF_EVERY_OPTIMIZER = (
    PARAM_CLIP_STEP_BY_VALUE,
    PARAM_CLIP_NAN,
    PARAM_CLIP_GLOBAL_NORM,
    PARAM_LOSS_SCALE,
    PARAM_EMA_DECAY,
    PARAM_SKIP_NONFINITE,
)
"""What a Context alone sets, for any optimizer; off by default."""
_ALIASES = {alias: row.name for row in _ROWS for alias in row.aliases}


def without_alias(name: str) -> str:
    """The declared name behind an alias; any other name as it is."""
    return _ALIASES.get(name, name)


def canonical_name(name: str) -> str:
    """The declared name of a hyperparameter or of its alias.

    Raises UnknownNameError, which names the nearest, for any other name.
    """
    found = without_alias(name)
    if found in KNOWN_HYPERPARAMETERS:
        return found
    raise unknown_name("hyperparameter", name, KNOWN_HYPERPARAMETERS)


def check_value(name: str, value: object) -> ParameterValue:
    """`value` for the hyperparameter `name`, with NumPy numbers as Python ones.

    Raises HyperparameterError when it has the wrong type or lies outside its bounds.
    """
    return check_spec(KNOWN_HYPERPARAMETERS[canonical_name(name)], value)


def check_spec(spec: HyperparameterSpec, value: object) -> ParameterValue:
    """As `check_value`, for a hyperparameter that may be an optimizer's own."""
    if isinstance(value, Schedule):
        return _accept(spec, value, spec.kind == "float")
    if isinstance(value, Settable):
        _accept(spec, value, spec.is_numeric)
        return Settable(_number(spec, value.value))
    if spec.kind == "tracer":
        _accept(spec, value, value is True or isinstance(value, Tracer))
        return True if value is True else value  # pyright: ignore[reportReturnType]
    return _plain(spec, value)


def _plain(spec: HyperparameterSpec, value: object) -> Plain:
    if isinstance(value, DType):
        value = value.name
    if spec.kind == "bool":
        if isinstance(value, bool | np.bool_):
            return bool(cast("bool", value))
        raise _wrong(spec, value)
    if spec.kind == "text":
        if isinstance(value, str) and (not spec.choices or value in spec.choices):
            return value
        raise _wrong(spec, value)
    return _number(spec, value)


def _number(spec: HyperparameterSpec, value: object) -> float | int:
    """The number, as a float or an int as the row says, within its bounds."""
    exact = int | np.integer if spec.kind == "integer" else int | float | np.integer | np.floating
    if isinstance(value, bool) or not isinstance(value, exact):
        raise _wrong(spec, value)
    plain = cast("float", value)
    number = int(plain) if spec.kind == "integer" else float(plain)
    inside = math.isfinite(number) and (spec.minimum is None or number >= spec.minimum)
    if not inside or (spec.below is not None and number >= spec.below):
        raise _wrong(spec, plain)
    return number


def _accept(spec: HyperparameterSpec, value: T, good: bool) -> T:
    if not good:
        raise _wrong(spec, value)
    return value


def _wrong(spec: HyperparameterSpec, value: object) -> FrontendError:
    shown = value.value if isinstance(value, Settable) else value
    return HyperparameterError(
        f"the hyperparameter {spec.name!r} has a value that it cannot take",
        expected=spec.describe(),
        got=f"{shown!r} ({type(value).__name__})",
    )
