"""The learning rate variable: on the host, settable between steps, written by schedules."""

from __future__ import annotations

from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DTypeLike
from stepforge.frontend.hyperparameters import PARAM_LEARNING_RATE
from stepforge.frontend.initializers import constant
from stepforge.frontend.variables import Storage, Variable

OPTIMIZERS_SCOPE = "optimizers"
"""The scope, below the optimizer's, that holds the variables of settable hyperparameters."""

SGD_DEFAULT_LEARNING_RATE = 0.1
ADAM_DEFAULT_LEARNING_RATE = 0.001


def learning_rate_var(ctx: Context, dtype: DTypeLike, initial_value: float) -> Variable:
    """The variable `optimizers/learning_rate` of this scope, created with `initial_value`.

    A variable that exists keeps its value and its dtype. The optimizers' own choice of
    `initial_value` is `ctx.get_param(PARAM_LEARNING_RATE, <their default>)`.
    """
    return host_number(ctx.at(OPTIMIZERS_SCOPE), PARAM_LEARNING_RATE, dtype, initial_value)


def learning_rate_var_with_value(ctx: Context, dtype: DTypeLike, value: float) -> Variable:
    """The same as `learning_rate_var`: creates the variable with the value, or reuses it as is."""
    return learning_rate_var(ctx, dtype, value)


def host_number(ctx: Context, name: str, dtype: DTypeLike, value: float | int) -> Variable:
    """The rank-0 host variable of a settable hyperparameter; one that exists stays as it is."""
    return number_variable(ctx, name, dtype, value, "host")


def number_variable(
    ctx: Context, name: str, dtype: DTypeLike, value: float | int, storage: Storage
) -> Variable:
    """The rank-0 variable of a hyperparameter; one that exists stays as it is."""
    found = ctx.find_variable(name)
    if found is not None:
        return found
    return ctx.variable(
        name,
        (),
        dtype,
        initializer=constant(value),
        trainable=False,
        storage=storage,
        role="hyperparameter",
    )
