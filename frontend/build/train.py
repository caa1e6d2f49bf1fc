"""`compile_train_step`: from a model's loss and an optimizer to a checked artifact."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from stepforge.frontend.build.artifact import Artifact, file_exists
from stepforge.frontend.build.compile import compile_program, compiling
from stepforge.frontend.collector import paused
from stepforge.frontend.context import Context
from stepforge.frontend.optimizers import Optimizer
from stepforge.frontend.trace import AfterUpdate
from stepforge.frontend.training import LossFunction, train_program
from stepforge.passes import Update, check_dtypes, parse_target


def compile_train_step(
    loss_function: LossFunction,
    optimizer: Optimizer,
    *,
    inputs: Mapping[str, Any],
    batch_sizes: Sequence[int] | None = None,
    target: str = "cpu",
    context: Context | None = None,
    output: str | os.PathLike[str] | None = None,
    accumulate_steps: int = 1,
    after_update: AfterUpdate | None = None,
    dump_ir: str | os.PathLike[str] | None = None,
    force: bool = False,
    isolate: bool = False,
    timeout: float | None = None,
    update: Update = "in-place",
) -> Artifact:
    """Compile a whole training step for one target: loss, gradients and update.

    loss_function, inputs, batch_sizes, accumulate_steps, after_update: as `train_program` takes
    them. The other arguments, the proof and the errors are those of `compile_optimizer`.

    The artifact exports `train_step`, `evaluate` and, where the loss function gives predictions,
    `predict`; `runtime.load` makes methods of them. For hosts without Python it also exports
    `initialize`, which computes first values on the device (docs/abi.md).
    """
    how = compiling(isolate, timeout, update=update)
    chosen = parse_target(target)
    if output is not None and Path(output).exists() and not force:
        raise file_exists(Path(output))
    context = Context() if context is None else context
    folder = None if dump_ir is None else Path(dump_ir)
    with paused(), context.unchanged_on_error():
        program = train_program(
            loss_function,
            context,
            optimizer,
            inputs=inputs,
            batch_sizes=batch_sizes,
            accumulate_steps=accumulate_steps,
            after_update=after_update,
        )
        held = [spec.dtype.name for spec in program.variables if spec.storage == "device"]
        check_dtypes(chosen, held)
        made = compile_program(program, chosen, dump_ir=folder, how=how)
    if output is None:
        return made
    return replace(made, path=made.save(output, force=force))
