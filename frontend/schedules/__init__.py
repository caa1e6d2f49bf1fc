"""Schedules of hyperparameters: values that change with a step counter."""

from stepforge.frontend.schedules.cosine import (
    COSINE_SCHEDULE_SCOPE,
    DEFAULT_LAST_STEP,
    CosineSchedule,
    train_last_step_var,
)

__all__ = [
    "COSINE_SCHEDULE_SCOPE",
    "DEFAULT_LAST_STEP",
    "CosineSchedule",
    "train_last_step_var",
]
