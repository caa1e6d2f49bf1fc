"""Errors for names that are in no table: they list the valid ones and name the nearest."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from stepforge.frontend.errors import UnknownNameError

# What other libraries call our settings, where the spelling alone would not lead there.
_ELSEWHERE: Mapping[str, tuple[str, ...]] = {
    "lr": ("learning_rate",),
    "eps": ("epsilon", "adam_epsilon"),
    "beta1": ("betas", "adam_beta1"),
    "beta_1": ("betas", "adam_beta1"),
    "beta2": ("betas", "adam_beta2"),
    "beta_2": ("beta2", "betas", "adam_beta2"),
    "rho": ("beta2", "adam_beta2"),
    "alpha": ("beta2", "adam_beta2"),
    "wd": ("weight_decay", "adam_weight_decay"),
    "decay": ("weight_decay", "adam_weight_decay"),
    "clipvalue": ("clip_step_by_value",),
    "num_cycles": ("cycles", "cosine_schedule_cycles"),
    "min_learning_rate": ("minimum", "cosine_schedule_min_learning_rate"),
}


def unknown_name(
    what: str,
    name: str,
    candidates: Iterable[str],
    error: type[UnknownNameError] = UnknownNameError,
) -> UnknownNameError:
    """The error for a name that is not one of `candidates`; it names the nearest, if any is."""
    names = sorted(candidates)
    near = _nearest(name, names)
    hint = None if near is None else f"did you mean {near!r}?"
    return error(f"unknown {what} {name!r}", expected=f"one of {', '.join(names)}", hint=hint)


def _nearest(name: str, candidates: list[str]) -> str | None:
    for elsewhere in _ELSEWHERE.get(name, ()):
        if elsewhere in candidates:
            return elsewhere
    holders = [c for c in candidates if c.endswith(f"_{name}")]
    close = difflib.get_close_matches(name, candidates, n=1, cutoff=0.5)
    return next(iter((*holders, *close)), None)
