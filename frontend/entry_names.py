"""The names of entry points: those of a training artifact, and what others may be called."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from stepforge.frontend.errors import OptimizerError

TRAIN_STEP = "train_step"
ACCUMULATE = "accumulate"
EVALUATE = "evaluate"
PREDICT = "predict"
INITIALIZE = "initialize"

#: By these the runtime tells a training artifact from one that takes gradients.
TRAINING_FUNCTIONS = (ACCUMULATE, EVALUATE, INITIALIZE, PREDICT, TRAIN_STEP)
RESERVED_FUNCTIONS = (*TRAINING_FUNCTIONS, "read", "self_test", "write")


def phase_names(name: str) -> tuple[str, str]:
    """The two phases of an entry point: `reduce` and `apply` of `step`, else with its name in
    front."""
    return ("reduce", "apply") if name == "step" else (f"{name}_reduce", f"{name}_apply")


def check_phase_names(names: Collection[str]) -> None:
    """Raises OptimizerError where an entry point is called as a phase of another."""
    for name in names:
        for phase in phase_names(name):
            if phase in names:
                raise OptimizerError(
                    f"the entry point {phase!r} would be taken for a phase of {name!r}",
                    expected="another name",
                    got=repr(phase),
                )


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
