"""Optimizers as graphs: trace them in a Context, evaluate them, compile them.

    from stepforge.frontend import AdamW, Settable, compile_optimizer

    parameters = {"encoder/w": "64x32xf32", "encoder/b": "32xf32"}
    artifact = compile_optimizer(AdamW(weight_decay=Settable(0.01)), parameters, target="cpu")

Nothing here imports IREE until `compile_optimizer` is first asked for, which a `*` does not do.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepforge.frontend import initializers, losses, metrics, nn, ops
from stepforge.frontend.clipping import (
    clip_nans_in_gradients,
    clip_nans_in_updates,
    clip_step_by_value,
)
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import (
    DType,
    as_dtype,
    bfloat16,
    bool_,
    float16,
    float32,
    float64,
    int8,
    int32,
    int64,
)
from stepforge.frontend.dump import dump
from stepforge.frontend.errors import FrontendError
from stepforge.frontend.evaluate import evaluate
from stepforge.frontend.global_step import (
    GLOBAL_STEP_VARIABLE_NAME,
    delete_global_step,
    get_global_step,
    get_global_step_var,
    increment_global_step_graph,
)
from stepforge.frontend.gradient import gradient, stop_gradient
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.hyperparameters import (
    KNOWN_HYPERPARAMETERS,
    LEARNING_RATE_KEY,
    PARAM_ADAM_BACKOFF_STEPS,
    PARAM_ADAM_BETA1,
    PARAM_ADAM_BETA2,
    PARAM_ADAM_DTYPE,
    PARAM_ADAM_EPSILON,
    PARAM_ADAM_WEIGHT_DECAY,
    PARAM_CLIP_GLOBAL_NORM,
    PARAM_CLIP_NAN,
    PARAM_CLIP_STEP_BY_VALUE,
    PARAM_COSINE_SCHEDULE_CYCLES,
    PARAM_COSINE_SCHEDULE_LEARNING_RATE,
    PARAM_COSINE_SCHEDULE_MIN_LEARNING_RATE,
    PARAM_COSINE_SCHEDULE_STEPS,
    PARAM_COSINE_SCHEDULE_WARM_UP_STEPS,
    PARAM_EMA_DECAY,
    PARAM_LEARNING_RATE,
    PARAM_LOSS_SCALE,
    PARAM_MASTER_WEIGHTS,
    PARAM_NAN_LOGGER,
    PARAM_OPTIMIZER,
    PARAM_SKIP_NONFINITE,
    PARAM_SLOT_DTYPE,
    PARAM_STOCHASTIC_ROUNDING,
    PARAM_TRAIN_LAST_STEP,
)
from stepforge.frontend.learning_rate import (
    ADAM_DEFAULT_LEARNING_RATE,
    OPTIMIZERS_SCOPE,
    SGD_DEFAULT_LEARNING_RATE,
    learning_rate_var,
    learning_rate_var_with_value,
)
from stepforge.frontend.monotonic import monotonic_projection
from stepforge.frontend.nan_tracing import Tracer, trace_nan_in_gradients
from stepforge.frontend.optimizers import (
    ADAM_DEFAULT_SCOPE,
    KNOWN_OPTIMIZERS,
    Adam,
    Adamax,
    AdamW,
    Hyperparameters,
    Optimizer,
    RMSProp,
    Slot,
    Slots,
    StochasticGradientDescent,
    by_name,
    from_context,
)
from stepforge.frontend.optimizers.base import Float, Integer, Parameters
from stepforge.frontend.program import EntryPoint, Program
from stepforge.frontend.resolve import Setting
from stepforge.frontend.schedules import CosineSchedule, train_last_step_var
from stepforge.frontend.settable import Schedule, Settable
from stepforge.frontend.trace import trace
from stepforge.frontend.training import TrainOutputs, train_program
from stepforge.frontend.variables import Variable
from stepforge.frontend.verify import verify

if TYPE_CHECKING:
    from stepforge.frontend.build import Artifact as Artifact
    from stepforge.frontend.build import compile_optimizer as compile_optimizer
    from stepforge.frontend.build import compile_train_step as compile_train_step

# Names that load the compiler, so they come when they are first asked for by name. They are not in
# __all__: `from stepforge.frontend import *` would ask for each of them.
_COMPILER = ("Artifact", "compile_optimizer", "compile_train_step")


def __getattr__(name: str) -> Any:
    if name in _COMPILER:
        return getattr(import_module("stepforge.frontend.build"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_COMPILER})


__all__ = [
    "ADAM_DEFAULT_LEARNING_RATE",
    "ADAM_DEFAULT_SCOPE",
    "GLOBAL_STEP_VARIABLE_NAME",
    "KNOWN_HYPERPARAMETERS",
    "KNOWN_OPTIMIZERS",
    "LEARNING_RATE_KEY",
    "OPTIMIZERS_SCOPE",
    "PARAM_ADAM_BACKOFF_STEPS",
    "PARAM_ADAM_BETA1",
    "PARAM_ADAM_BETA2",
    "PARAM_ADAM_DTYPE",
    "PARAM_ADAM_EPSILON",
    "PARAM_ADAM_WEIGHT_DECAY",
    "PARAM_CLIP_GLOBAL_NORM",
    "PARAM_CLIP_NAN",
    "PARAM_CLIP_STEP_BY_VALUE",
    "PARAM_COSINE_SCHEDULE_CYCLES",
    "PARAM_COSINE_SCHEDULE_LEARNING_RATE",
    "PARAM_COSINE_SCHEDULE_MIN_LEARNING_RATE",
    "PARAM_COSINE_SCHEDULE_STEPS",
    "PARAM_COSINE_SCHEDULE_WARM_UP_STEPS",
    "PARAM_EMA_DECAY",
    "PARAM_LEARNING_RATE",
    "PARAM_LOSS_SCALE",
    "PARAM_MASTER_WEIGHTS",
    "PARAM_NAN_LOGGER",
    "PARAM_OPTIMIZER",
    "PARAM_SKIP_NONFINITE",
    "PARAM_SLOT_DTYPE",
    "PARAM_STOCHASTIC_ROUNDING",
    "PARAM_TRAIN_LAST_STEP",
    "SGD_DEFAULT_LEARNING_RATE",
    "Adam",
    "AdamW",
    "Adamax",
    "Context",
    "CosineSchedule",
    "DType",
    "EntryPoint",
    "Float",
    "FrontendError",
    "Graph",
    "Hyperparameters",
    "Integer",
    "Node",
    "Optimizer",
    "Parameters",
    "Program",
    "RMSProp",
    "Schedule",
    "Settable",
    "Setting",
    "Slot",
    "Slots",
    "StochasticGradientDescent",
    "Tracer",
    "TrainOutputs",
    "Variable",
    "as_dtype",
    "bfloat16",
    "bool_",
    "by_name",
    "clip_nans_in_gradients",
    "clip_nans_in_updates",
    "clip_step_by_value",
    "delete_global_step",
    "dump",
    "evaluate",
    "float16",
    "float32",
    "float64",
    "from_context",
    "get_global_step",
    "get_global_step_var",
    "gradient",
    "increment_global_step_graph",
    "initializers",
    "int8",
    "int32",
    "int64",
    "learning_rate_var",
    "learning_rate_var_with_value",
    "losses",
    "metrics",
    "monotonic_projection",
    "nn",
    "ops",
    "stop_gradient",
    "trace",
    "trace_nan_in_gradients",
    "train_last_step_var",
    "train_program",
    "verify",
]
