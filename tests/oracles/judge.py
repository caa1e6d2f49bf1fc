"""Hold one float32 step of one variable against the float64 reference and the bars.

Absolute slack for flushed denormals, with tiny = 2^-126: an operand or result below it may be 0.
m' and v' have two operands, two products and a sum: 5 tiny. In q an error d(m') passes through
rate / denominator, an error d(v') moves the root by at most sqrt(v' + d) - sqrt(v' - d), and
numerator, denominator and quotient may each be flushed. Step and parameter add what they flush.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from . import comparator, formulas
from .bars import DECAY, DIRECTION, MOMENT1, ROUNDING, SECOND_SLOT, TINY, ULP, UNIT, Backend
from .formulas import Float64, Update
from .schedule import rate_units
from .settings import Settings

# Beyond this an exact intermediate may overflow in float32, whatever the order of operations.
LARGEST_INTERMEDIATE = 2.0**126


@dataclass(frozen=True, slots=True, kw_only=True)
class Allowance:
    """Absolute error allowed in one quantity, element by element."""

    total: Float64
    weight: Float64
    """Magnitude an error is counted against: error / (2^-23 * weight) is its ULP figure."""
    slack: Float64
    """The part of `total` that the ULP figure leaves out: flushing, and errors judged apart."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """The worst element of one quantity."""

    quantity: str
    used: float
    """Error as a share of what is allowed: at most 1."""
    ulp: float
    """Error in ULP, kappa-weighted, beyond the slack; what `bars.py` speaks of."""
    count: int
    index: int
    actual: float
    exact: float

    def __str__(self) -> str:
        return (
            f"{self.quantity}[{self.index}] = {self.actual!r}, exact {self.exact!r}: "
            f"{self.ulp:.3g} ULP, {self.used:.3g} of what is allowed ({self.count} judged)"
        )


def ulp_error(actual: ArrayLike, exact: ArrayLike, slack: ArrayLike = 0.0) -> Float64:
    """|actual - exact| beyond `slack` in units of 2^-23 * |exact|; inf where either is NaN."""
    a, e = np.asarray(actual, np.float64), np.asarray(exact, np.float64)
    with np.errstate(all="ignore"):
        return _share(np.maximum(_error(a, e) - np.asarray(slack), 0.0), ULP * np.abs(e))


def _error(actual: Float64, exact: Float64) -> Float64:
    """|actual - exact|: 0 for equal infinities, inf where either is NaN."""
    error = np.where(actual == exact, 0.0, np.abs(actual - exact))
    return np.where(np.isnan(error), np.inf, error)


def _share(error: Float64, of: Float64) -> Float64:
    return np.where(error == 0.0, 0.0, error / of)


def allow(
    settings: Settings, parameter: ArrayLike, exact: Update, t: int, backend: Backend
) -> dict[str, Allowance]:
    """What each slot, the "step" and the "parameter" of step `t` may err by.

    `parameter` is the one before the step, `exact` the reference of the step.
    """
    p = np.asarray(parameter, np.float64)
    allowed: dict[str, Allowance] = {}
    if "m" in settings.slots:
        m = MOMENT1[backend].moment * ULP * exact.moment_scale + 5.0 * TINY
        allowed["m"] = _allowance(m, exact.moment_scale, 5.0 * TINY)
    if "v" in settings.slots:
        v = SECOND_SLOT[settings.optimizer][backend].fixed * ULP * exact.slots["v"] + 5.0 * TINY
        allowed["v"] = _allowance(v, exact.slots["v"], 5.0 * TINY)
    allowed["step"] = step = _allow_step(settings, exact, t, backend)
    size = np.abs(exact.parameter)
    if settings.optimizer != "sgd" and t <= settings.backoff_steps:
        kept = np.where(np.abs(p) < TINY, TINY, 0.0)
        allowed["step"] = _allowance(np.zeros_like(p), size, 0.0)
        allowed["parameter"] = _allowance(kept, size, kept)
        return allowed
    slack = (1.0 + 2.0 * ULP) * step.total + 2.0 * TINY
    allowed["parameter"] = _allowance(ROUNDING[backend].fixed * ULP * size + slack, size, slack)
    return allowed


def _allowance(total: Float64, weight: Float64, slack: ArrayLike) -> Allowance:
    return Allowance(total=total, weight=weight, slack=np.broadcast_to(slack, total.shape))


def _allow_step(settings: Settings, exact: Update, t: int, backend: Backend) -> Allowance:
    bar = DIRECTION[settings.optimizer][backend]
    through_moment = abs(exact.rate) * exact.moment_scale / exact.denominator
    weighted = bar.fixed * np.abs(exact.direction) + bar.moment * through_moment
    late = rate_units(settings, t) * UNIT
    slack = _flushed(settings, exact) + late * np.abs(exact.direction)
    unclipped = exact.direction + exact.decay
    if settings.decays_weights:
        slack = slack + (DECAY[backend].fixed * ULP + late) * np.abs(exact.decay) + 2.0 * TINY
        rounded = np.where(exact.decay == 0.0, 0.0, np.abs(unclipped))
        slack = slack + ROUNDING[backend].fixed * ULP * rounded
    total = weighted * ULP + slack
    if settings.clip_step_by_value > 0.0:
        # The limit's own rounding; the step's error too where that may bring it back inside.
        beyond = np.abs(unclipped) - total > settings.clip_step_by_value
        total = np.where(beyond, 0.0, total) + UNIT * settings.clip_step_by_value
        slack = np.where(beyond, total, slack + UNIT * settings.clip_step_by_value)
    return _allowance(total, weighted / bar.ulp, slack)


def _flushed(settings: Settings, exact: Update) -> Float64:
    """What flushing denormals may do to q."""
    if settings.optimizer == "sgd":
        return np.full_like(exact.direction, (abs(exact.rate) + 1.0) * TINY)
    v, flushed = exact.slots["v"], 5.0 * TINY
    if settings.optimizer == "adamax":
        denominator_error = np.full_like(v, flushed + TINY)
    else:
        root = np.sqrt(v + flushed) - np.sqrt(np.maximum(v - flushed, 0.0))
        denominator_error = root * exact.root_scale + TINY
    numerator_error = (abs(exact.rate) * 5.0 + 1.0) * TINY
    least = np.maximum(exact.denominator - denominator_error, TINY)
    return (numerator_error + np.abs(exact.direction) * denominator_error) / least + TINY


def in_range(settings: Settings, parameter: ArrayLike, exact: Update) -> NDArray[np.bool_]:
    """Elements whose exact intermediates all fit float32: those the bars speak of."""
    g = exact.gradient
    quantities = [np.asarray(parameter, np.float64), g, exact.step, exact.parameter, exact.decay]
    quantities += [exact.direction, exact.denominator, exact.moment_scale, *exact.slots.values()]
    quantities.append(abs(exact.rate) * exact.moment_scale)
    if settings.optimizer not in ("sgd", "adamax"):
        quantities.append(g * g)
    return np.logical_and.reduce([np.abs(x) <= LARGEST_INTERMEDIATE for x in quantities])


def judge(
    settings: Settings,
    before: Mapping[str, ArrayLike],
    gradient: ArrayLike,
    after: Mapping[str, ArrayLike],
    t: int,
    backend: Backend,
    *,
    learning_rate: float | None = None,
) -> list[Measure]:
    """Measure step `t` that took `before` to `after`, mappings of "parameter" and slot names.

    What `after` lacks is not judged, nor are elements that leave the range of float32. The step
    itself is measured where the parameter was 0: there the new parameter is the negated step.
    """
    p = np.asarray(before["parameter"], np.float64)
    with np.errstate(all="ignore"):
        exact = formulas.step(settings, p, gradient, before, t, learning_rate=learning_rate)
        allowed = allow(settings, p, exact, t, backend)
        inside = in_range(settings, p, exact)
        slots = [name for name in settings.slots if name in after]
        rows = [(name, after[name], exact.slots[name], inside) for name in slots]
        if "parameter" in after:
            new = np.asarray(after["parameter"], np.float64)
            rows.append(("step", -new, exact.step, inside & (p == 0.0)))
            rows.append(("parameter", new, exact.parameter, inside))
        return [
            _worst(name, np.asarray(actual, np.float64), reference, allowed[name], where)
            for name, actual, reference, where in rows
            if where.any()
        ]


def _worst(
    quantity: str, actual: Float64, exact: Float64, allowed: Allowance, where: NDArray[np.bool_]
) -> Measure:
    error = np.where(where, _error(actual, exact), 0.0)
    used = _share(error, allowed.total)
    ulp = _share(np.maximum(error - allowed.slack, 0.0), ULP * allowed.weight)
    index = int(np.argmax(used))
    return Measure(
        quantity=quantity,
        used=float(used.flat[index]),
        ulp=float(ulp.max()),
        count=int(where.sum()),
        index=index,
        actual=float(actual.flat[index]),
        exact=float(exact.flat[index]),
    )


def kind(values: ArrayLike) -> NDArray[np.int8]:
    """2 where NaN, 1 or -1 where infinite, 0 where finite."""
    x = np.asarray(values, np.float64)
    return np.where(np.isnan(x), 2, np.where(np.isinf(x), np.sign(x), 0)).astype(np.int8)


def kind_mismatches(
    settings: Settings,
    before: Mapping[str, ArrayLike],
    gradient: ArrayLike,
    after: Mapping[str, ArrayLike],
    t: int,
) -> list[str]:
    """Where a step beyond the range of float32 ends differently from the float32 comparator.

    What `judge` leaves out: overflow must give the same infinities and NaN, element by element.
    """
    p = np.asarray(before["parameter"], np.float64)
    with np.errstate(all="ignore"):
        inside = in_range(settings, p, formulas.step(settings, p, gradient, before, t))
    twin = comparator.step(settings, p, gradient, before, t)
    expected = {"parameter": twin.parameter, **twin.slots}
    lines: list[str] = []
    for name, values in expected.items():
        wrong = ~inside & (kind(values) != kind(after[name]))
        lines += [
            f"{name}[{i}] = {np.asarray(after[name]).flat[i]!r}, float32 gives {values.flat[i]!r}"
            for i in np.flatnonzero(wrong)[:3]
        ]
    return lines


def storage_interval(
    exact: ArrayLike, allowed: ArrayLike, dtype: np.dtype
) -> tuple[NDArray, NDArray]:
    """Lowest and highest stored value of a result within `allowed` of `exact`.

    Rounding to storage is monotonic: the artifact's own float32 lies between the two ends, so
    what it stores lies between what they round to.
    """
    e, a = np.asarray(exact, np.float64), np.asarray(allowed, np.float64)
    with np.errstate(all="ignore"):
        return (e - a).astype(np.float32).astype(dtype), (e + a).astype(np.float32).astype(dtype)
