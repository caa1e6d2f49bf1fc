"""How other libraries name the state of an optimizer, and what of it means the same here.

Each library is a row of `LIBRARIES`: patterns of its names in a flat file, and for each formula of
this package the names of the slots, or why its state cannot be taken over. A pattern has `{name}`
for the parameter, `{flat}` for its name with "_" for "/", `{path}` for its Context path, `{kind}`
for the slot, and `{owner}` for what a library calls the optimizer or its scope.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Rule:
    """One formula in one library. `slots`: our kind -> the library's. `refused`: why not at all."""

    slots: Mapping[str, str] = field(default_factory=dict[str, str])
    owner: str = ""
    """What the library calls the optimizer, where that is part of names."""
    note: str = ""
    """What a user should know who goes on with this state."""
    refused: str = ""


@dataclass(frozen=True, slots=True)
class Library:
    """The names of one library in a flat file of tensors."""

    name: str
    parameter: str
    slot: str
    count: str
    """The number of steps taken; with `{name}` there is one for each parameter."""
    count_dtype: str
    owned: str
    """A regular expression of all names of the optimizer's state; its group `name` or `flat` is
    the parameter's, so that state that is not known here is told from other tensors."""
    rules: Mapping[str, Rule]
    """By the formula of an artifact."""
    rate: str | None = None
    """Where the library keeps the learning rate."""
    global_count: str | None = None
    """A count of steps of all optimizers, beside the optimizer's own."""
    unknown: Mapping[str, str] = field(default_factory=dict[str, str])
    """Ends of names of state that no artifact has, and what it is."""


ADAM = "adam: epsilon outside the root, decoupled decay"
ADAMW = "adamw: epsilon outside the root, decoupled decay"
ADAMAX = "adamax: epsilon outside the maximum, decoupled decay"
RMSPROP = "rmsprop: bias-corrected, epsilon outside the root, decoupled decay"
SGD = "sgd: lr*g"
SGD_ROOT = "sgd: lr/sqrt(t)*g"

_COUPLED = (
    "torch's Adam(weight_decay=...) adds the decay to the gradient, which this artifact does not: "
    "go on with this state only if it was 0"
)
_HAT = (
    "Keras adds epsilon before the bias correction: the same epsilon acts there as "
    "epsilon / sqrt(1 - beta2^t) does here"
)
_IN_MAXIMUM = (
    "its slot is max(beta2 u, |g| + epsilon), with epsilon inside, and this artifact's is "
    "max(beta2 u, |g|)"
)
_UNCORRECTED = (
    "its RMSProp does not correct the bias of the second moment, and this artifact's does: "
    "from the same state they go different ways"
)
_NO_ROOT = (
    "its SGD does not divide by sqrt(t), and this artifact does: compile "
    "StochasticGradientDescent(decay=False)"
)
_AMSGRAD = "the maximum that AMSGrad keeps"
_MOMENTUM = "a momentum, which the SGD of this package does not have"

TORCH = Library(
    name="torch",
    parameter="{name}",
    slot="{name}.{kind}",
    count="{name}.step",
    count_dtype="float32",
    owned=r"(?P<name>.+)\.(?P<kind>[^.]+)",
    rules={
        ADAM: Rule({"1st_moment": "exp_avg", "2nd_moment": "exp_avg_sq"}, note=_COUPLED),
        ADAMW: Rule({"1st_moment": "exp_avg", "2nd_moment": "exp_avg_sq"}),
        ADAMAX: Rule(refused=_IN_MAXIMUM),
        RMSPROP: Rule(refused=_UNCORRECTED),
        SGD: Rule(),
        SGD_ROOT: Rule(refused=_NO_ROOT),
    },
    unknown={"max_exp_avg_sq": _AMSGRAD, "momentum_buffer": _MOMENTUM},
)

OPTAX = Library(
    name="optax",
    parameter="params/{name}",
    slot="{kind}/{name}",
    count="count",
    count_dtype="int32",
    owned=r"(?P<kind>(?!params/)[^/]+)/(?P<name>.+)",
    rules={
        ADAM: Rule({"1st_moment": "mu", "2nd_moment": "nu"}),
        ADAMW: Rule({"1st_moment": "mu", "2nd_moment": "nu"}),
        ADAMAX: Rule(refused=_IN_MAXIMUM),
        RMSPROP: Rule(refused=_UNCORRECTED),
        SGD: Rule(),
        SGD_ROOT: Rule(refused=_NO_ROOT),
    },
    unknown={"nu_max": _AMSGRAD, "trace": _MOMENTUM},
)

KERAS = Library(
    name="keras",
    parameter="{name}",
    slot="{owner}/{flat}_{kind}",
    count="{owner}/iteration",
    count_dtype="int32",
    owned=r"{owner}/(?P<flat>.+)",
    rate="{owner}/learning_rate",
    rules={
        ADAM: Rule({"1st_moment": "momentum", "2nd_moment": "velocity"}, "adam", _HAT),
        ADAMW: Rule({"1st_moment": "momentum", "2nd_moment": "velocity"}, "adam_w", _HAT),
        ADAMAX: Rule({"1st_moment": "momentum", "2nd_moment": "norm"}, "adamax"),
        RMSPROP: Rule(refused=_UNCORRECTED),
        SGD: Rule(owner="sgd"),
        SGD_ROOT: Rule(refused=_NO_ROOT),
    },
    unknown={"velocity_hat": _AMSGRAD, "momentum": _MOMENTUM},
)

_GOMLX_NOTE = (
    "GoMLX counts the optimizer's steps in the loss's dtype and computes 1 - beta^t in it, which "
    "is coarser than here"
)
_GOMLX_MOMENTS = Rule(
    {"1st_moment": "1st_moment", "2nd_moment": "2nd_moment"}, "AdamOptimizer", _GOMLX_NOTE
)
GOMLX = Library(
    name="gomlx",
    parameter="{path}",
    slot="/{owner}{path}_{kind}",
    count="/{owner}/step",
    count_dtype="float32",
    owned=r"/{owner}/(?P<flat>.+)",
    rate="/optimizers/learning_rate",
    global_count="/global_step",
    rules={
        ADAM: _GOMLX_MOMENTS,
        ADAMW: _GOMLX_MOMENTS,
        ADAMAX: _GOMLX_MOMENTS,
        RMSPROP: Rule({"2nd_moment": "2nd_moment"}, "AdamOptimizer", _GOMLX_NOTE),
        SGD: Rule(owner="StochasticGradientDescent"),
        SGD_ROOT: Rule(owner="StochasticGradientDescent"),
    },
)

LIBRARIES: Mapping[str, Library] = {row.name: row for row in (TORCH, OPTAX, KERAS, GOMLX)}


def spelled(pattern: str, *, path: str, kind: str = "", owner: str = "") -> str:
    """A name in a library's file. path: of the parameter, such as `/encoder/w`."""
    name = path[1:]
    return pattern.format(name=name, flat=name.replace("/", "_"), path=path, kind=kind, owner=owner)


def owned_by(library: Library, owner: str) -> re.Pattern[str]:
    return re.compile(library.owned.replace("{owner}", re.escape(owner)))
