"""The table of hyperparameters: names, values, bounds, and the nearest name of a wrong one."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from stepforge.frontend import float64
from stepforge.frontend import hyperparameters as h
from stepforge.frontend.errors import FrontendError, HyperparameterError, UnknownNameError
from stepforge.frontend.schedules import CosineSchedule
from stepforge.frontend.settable import Settable


class Logger:
    def trace(self, count: int, *scopes: str) -> None: ...


# The seed's own spelling of each name; settings of the seed must mean the same here.
SEED = {
    "PARAM_OPTIMIZER": "optimizer",
    "PARAM_LEARNING_RATE": "learning_rate",
    "LEARNING_RATE_KEY": "learning_rate",
    "PARAM_CLIP_STEP_BY_VALUE": "clip_step_by_value",
    "PARAM_CLIP_NAN": "clip_nan",
    "PARAM_NAN_LOGGER": "nanlogger",
    "PARAM_ADAM_EPSILON": "adam_epsilon",
    "PARAM_ADAM_DTYPE": "adam_dtype",
    "PARAM_ADAM_WEIGHT_DECAY": "adam_weight_decay",
    "PARAM_ADAM_BETA1": "adam_beta1",
    "PARAM_ADAM_BETA2": "adam_beta2",
    "PARAM_ADAM_BACKOFF_STEPS": "adam_backoff",
    "PARAM_COSINE_SCHEDULE_STEPS": "cosine_schedule_steps",
    "PARAM_COSINE_SCHEDULE_CYCLES": "cosine_schedule_cycles",
    "PARAM_COSINE_SCHEDULE_WARM_UP_STEPS": "cosine_schedule_warmup_steps",
    "PARAM_COSINE_SCHEDULE_MIN_LEARNING_RATE": "cosine_schedule_min_learning_rate",
    "PARAM_TRAIN_LAST_STEP": "train_last_global_step",
    # Not the seed's.
    "PARAM_SLOT_DTYPE": "slot_dtype",
    "PARAM_STOCHASTIC_ROUNDING": "stochastic_rounding",
    "PARAM_MASTER_WEIGHTS": "master_weights",
    # Not the seed's, whose schedule takes this value from a method alone.
    "PARAM_COSINE_SCHEDULE_LEARNING_RATE": "cosine_schedule_learning_rate",
    # What the seed does not have.
    "PARAM_CLIP_GLOBAL_NORM": "clip_global_norm",
    "PARAM_LOSS_SCALE": "loss_scale",
    "PARAM_EMA_DECAY": "ema_decay",
    "PARAM_SKIP_NONFINITE": "skip_nonfinite",
}


@pytest.mark.parametrize("constant", SEED)
def test_constants_have_the_seeds_values_and_are_declared(constant: str) -> None:
    name = getattr(h, constant)
    assert name == SEED[constant]
    assert h.KNOWN_HYPERPARAMETERS[name].doc


def test_every_declared_name_has_a_constant_and_a_valid_default() -> None:
    assert set(h.KNOWN_HYPERPARAMETERS) == set(SEED.values())
    for spec in h.KNOWN_HYPERPARAMETERS.values():
        if spec.default is not None:
            assert h.check_value(spec.name, spec.default) == spec.default


@pytest.mark.parametrize(
    ("wrong", "nearest"),
    [
        ("epsilon", "adam_epsilon"),
        ("eps", "adam_epsilon"),
        ("lr", "learning_rate"),
        ("learning-rate", "learning_rate"),
        ("beta1", "adam_beta1"),
        ("beta_2", "adam_beta2"),
        ("wd", "adam_weight_decay"),
        ("clip_nans", "clip_nan"),
        ("backoff", "adam_backoff"),
        ("cosine_steps", "cosine_schedule_steps"),
        ("Optimizer", "optimizer"),
    ],
)
def test_an_unknown_name_is_refused_with_the_nearest(wrong: str, nearest: str) -> None:
    with pytest.raises(UnknownNameError, match=f"did you mean '{nearest}'") as error:
        h.canonical_name(wrong)
    assert f"unknown hyperparameter {wrong!r}" in str(error.value)
    assert ", ".join(sorted(h.KNOWN_HYPERPARAMETERS)) in str(error.value)


def test_a_name_like_no_other_gets_no_suggestion() -> None:
    with pytest.raises(UnknownNameError) as error:
        h.canonical_name("qqqqqq")
    assert "did you mean" not in str(error.value)


def test_an_alias_leads_to_its_name() -> None:
    assert h.canonical_name("weight_decay") == "adam_weight_decay"


LOGGER = Logger()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", 1, 1.0),
        ("learning_rate", np.float32(0.5), 0.5),
        ("adam_epsilon", 0, 0.0),
        ("adam_beta1", 0.0, 0.0),
        ("adam_backoff", np.int64(3), 3),
        ("adam_backoff", -1, -1),
        ("clip_nan", np.True_, True),
        ("adam_dtype", float64, "float64"),
        ("adam_dtype", "", ""),
        ("optimizer", "sgd", "sgd"),
        ("nanlogger", True, True),
        ("nanlogger", LOGGER, LOGGER),
        ("adam_beta2", Settable(np.float64(0.5)), Settable(0.5)),
        ("adam_backoff", Settable(2), Settable(2)),
        ("learning_rate", CosineSchedule(period=3), CosineSchedule(period=3)),
    ],
)
def test_good_values_become_python_numbers(name: str, value: Any, expected: Any) -> None:
    got = h.check_value(name, value)
    assert got == expected
    assert type(got) is type(expected)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("learning_rate", -0.1, "a number of at least 0"),
        ("learning_rate", "fast", "a number of at least 0"),
        ("learning_rate", True, "a number of at least 0"),
        ("learning_rate", math.nan, "a number of at least 0"),
        ("clip_step_by_value", math.inf, "a number of at least 0"),
        ("adam_beta1", 1.0, "a number of at least 0 and below 1"),
        ("adam_beta2", Settable(1.5), "a number of at least 0 and below 1"),
        ("adam_backoff", 1.5, "an integer"),
        ("cosine_schedule_cycles", -1, "an integer of at least 0"),
        ("clip_nan", 1, "True or False"),
        ("clip_nan", Settable(1), "True or False"),
        ("adam_dtype", "float16", "one of '', 'float32', 'float64'"),
        ("adam_dtype", Settable(1), "one of"),
        ("nanlogger", False, "True or a Tracer"),
        ("nanlogger", object(), "True or a Tracer"),
        ("optimizer", 3, "a text"),
        ("adam_backoff", CosineSchedule(period=3), "an integer"),
    ],
)
def test_wrong_values_say_the_name_both_sides_and_the_bounds(
    name: str, value: Any, expected: str
) -> None:
    with pytest.raises(HyperparameterError, match=f"the hyperparameter {name!r}") as error:
        h.check_value(name, value)
    assert f"expected: {expected}" in str(error.value)
    shown = value.value if isinstance(value, Settable) else value
    assert f"got: {shown!r} (" in str(error.value)
    assert isinstance(error.value, FrontendError)
