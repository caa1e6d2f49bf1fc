"""What is said of a function that an artifact does not have, or that is called another way."""

from __future__ import annotations

from collections.abc import Collection
from typing import NoReturn

from stepforge.runtime.errors import InputError, UnknownNameError
from stepforge.runtime.names import listed, nearest


def refuse_call(function: str, functions: Collection[str]) -> NoReturn:
    if function in functions or "train_step" not in functions:
        raise InputError(
            f"{function}: the artifact updates from gradients; call step(gradients), or "
            "compile the model's loss into it (compile_train_step, --model)"
        )
    raise InputError(
        f"{function}: the artifact has only {listed(functions)}; return "
        "TrainOutputs(predictions=...) from the loss function and compile it again"
    )


def refuse_step(function: object, functions: Collection[str]) -> NoReturn:
    if "train_step" in functions:
        raise InputError("step: the artifact computes its own gradients; call train_step(**inputs)")
    if function is None:
        raise InputError(
            f"the artifact has several entry points; name one: step(gradients, function=...), "
            f"of {listed(functions)}"
        )
    if isinstance(function, str) and function in functions:
        raise InputError(
            f"step: {function!r} is one phase of a step; call reduce(gradients), then "
            "apply(gradients, partials)"
        )
    hint = nearest(str(function), functions)
    raise UnknownNameError(f"no entry point {function!r}{hint}")
