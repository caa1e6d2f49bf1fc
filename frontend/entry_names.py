"""The names of entry points: those of a training artifact, and what others may be called."""

from __future__ import annotations

from collections.abc import Iterable

from stepforge.frontend.errors import OptimizerError

TRAIN_STEP = "train_step"
ACCUMULATE = "accumulate"
EVALUATE = "evaluate"
PREDICT = "predict"
INITIALIZE = "initialize"

#: By these the runtime tells a training artifact from one that takes gradients.
TRAINING_FUNCTIONS = (ACCUMULATE, EVALUATE, INITIALIZE, PREDICT, TRAIN_STEP)
RESERVED_FUNCTIONS = (*TRAINING_FUNCTIONS, "read", "self_test", "write")


def check_entry_names(names: Iterable[str]) -> None:
    """Raises OptimizerError unless each can be the name of an update from gradients."""
    for name in names:
        if name in TRAINING_FUNCTIONS:
            raise OptimizerError(
                f"the entry point {name!r} would be taken for that of a training artifact",
                expected=f"a name that is not one of {', '.join(RESERVED_FUNCTIONS)}",
                got=repr(name),
                hint="give it another name, such as 'step'; compile_train_step makes whole "
                "training steps",
            )
        if not name.isidentifier() or name in RESERVED_FUNCTIONS:
            expected = f"an identifier that is not one of {', '.join(RESERVED_FUNCTIONS)}"
            raise OptimizerError("wrong name of an entry point", expected=expected, got=repr(name))
