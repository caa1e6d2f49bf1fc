"""What every optimizer is: slots, settings and one pure rule, in a layer that does all the rest."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar, Self, TypeAlias, cast

from stepforge.frontend import ops
from stepforge.frontend.all_gradients import prepare
from stepforge.frontend.averages import EMA, moving_average
from stepforge.frontend.blocks import Range
from stepforge.frontend.clipping import clip_nans_in_updates, clip_step_by_value
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType, DTypeLike, as_dtype, float32
from stepforge.frontend.errors import OptimizerError, is_of_package
from stepforge.frontend.global_step import increment_counter_graph, increment_global_step_graph
from stepforge.frontend.gradient import followed
from stepforge.frontend.gradient import gradient as gradients_of
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.hyperparameters import (
    KNOWN_HYPERPARAMETERS,
    PARAM_EMA_DECAY,
    check_spec,
)
from stepforge.frontend.initializers import zeros
from stepforge.frontend.keywords import check_keywords
from stepforge.frontend.loss_scale import scale_loss
from stepforge.frontend.low_precision import (
    MASTER,
    LowPrecision,
    StoredSlot,
    check_elementwise,
    master_or,
)
from stepforge.frontend.optimizers.repeats import Repeats
from stepforge.frontend.optimizers.values import Hyperparameters, resolve_settings
from stepforge.frontend.resolve import Resolved, Setting, is_off, parameter, variable_of
from stepforge.frontend.settable import Schedule, Settable
from stepforge.frontend.skipping import check_counter, keep_where_skipped
from stepforge.frontend.variables import Variable, VariableSpec

Float: TypeAlias = "float | Settable | Schedule | None"
Integer: TypeAlias = "int | Settable | None"
Slots: TypeAlias = Mapping[str, Node]
Parameters: TypeAlias = "tuple[tuple[str, Any], ...]"


@dataclass(frozen=True, slots=True)
class Slot:
    """State that an optimizer keeps for each variable, of the variable's shape, first zero."""

    key: str
    """The rule's name for it, such as `m`."""
    kind: str
    """The end of its variables' names: `w` has `w_1st_moment`."""
    range: Range = "signed"
    """What numbers it holds, for storage in 8 bits: any, magnitudes (never below 0; a rule may
    divide by them), or squares (a rule may divide by their root)."""


class Optimizer(ABC):
    """A frozen value that adds one step of optimization to a graph.

    To add an optimizer, write one final frozen dataclass with the fields declared here and its own,
    and give it `slots`, `settings` and `update`; docs/optimizers.md has a whole one. Names,
    counters, dtypes, schedules, clipping, NaN handling and groups are done here.

    `update` returns the *step*, which this class subtracts, not the new parameter: clipping by
    value and backoff apply to the step, weight decay included.

    Every field that is None takes the nearest Context parameter, else the class default. A rule of
    the Context (`ctx.set_params_for`) goes before both for the parameters that it matches.
    """

    __slots__ = ()

    learning_rate: Float
    scope: str
    """Names the scope of slots and of the step counter; two optimizers on one Context differ in
    it."""
    context_parameters: Parameters
    """What `from_context` saw; used where the Context of the update has no parameter."""

    default_scope: ClassVar[str]
    slots: ClassVar[tuple[Slot, ...]] = ()
    counts_steps: ClassVar[bool] = True
    """Keeps a step counter of its own, in its scope."""
    dtype_parameter: ClassVar[str | None] = None
    """The Context parameter that decides the compute dtype, if there is one."""
    zeroes_gradients: ClassVar[bool] = True
    """`clip_nan` takes a gradient with non-finite values as zero before the rule sees it."""

    def __new__(cls, *args: object, **values: object) -> Self:
        check_keywords(cls, values)
        return object.__new__(cls)

    def __post_init__(self) -> None:
        settings = self.settings()
        for setting in settings:
            default = setting.default if setting.explicit is None else setting.explicit
            check_spec(setting.spec, default)
        if "learning_rate" not in [setting.key for setting in settings]:
            raise OptimizerError(
                f"{type(self).__name__} has no setting with the key 'learning_rate'",
                expected='Setting("learning_rate", PARAM_LEARNING_RATE, self.learning_rate, 0.001)',
                got=f"the keys {', '.join(setting.key for setting in settings) or 'of none'}",
                hint="schedules and the runtime's learning_rate need one",
            )
        if not self.scope or self.scope != self.scope.strip("/"):
            rule = "an optimizer's scope is a name without slashes at its ends"
            raise OptimizerError(rule, got=repr(self.scope))

    @property
    @abstractmethod
    def formula(self) -> str:
        """A name for the exact algorithm, variant included; artifacts record it."""

    @abstractmethod
    def settings(self) -> tuple[Setting, ...]:
        """The hyperparameters, in the order in which they are listed."""

    @abstractmethod
    def update(
        self, parameter: Node, gradient: Node, slots: Slots, h: Hyperparameters
    ) -> tuple[Node, Slots]:
        """The rule: (step to subtract, new slots) of one variable, all in the compute dtype."""

    def compute_dtype(self, ctx: Context, loss_dtype: DTypeLike) -> DType:
        """The dtype of slots and arithmetic: the loss's, but float32 for 16-bit floats."""
        return loss_compute_dtype(loss_dtype)

    @classmethod
    def from_context(cls, ctx: Context, **overrides: Any) -> Self:
        """The optimizer as the Context describes it; `overrides` are explicit arguments.

        What the Context says now is remembered, but a Context that says otherwise when the update
        is built, nearer to a variable or at all, goes before it.
        """
        made = cls(**overrides)
        names = {*KNOWN_HYPERPARAMETERS, *(setting.name for setting in made.settings())}
        seen = {k: v for k, v in ctx.visible_params().items() if k in names}
        return made.replace(context_parameters=tuple(sorted(seen.items())))

    def replace(self, **changes: Any) -> Self:
        """The same optimizer with some fields changed."""
        check_keywords(type(self), changes)
        return cast("Self", replace(cast("Any", self), **changes))

    def update_graph(self, ctx: Context, graph: Graph, loss: Node) -> None:
        """Adds one step that lowers the loss: `update_graph_with_gradients` with its gradients.

        loss: rank 0, a float. Updated are the trainable variables whose values before the step
        (`variable.input(graph)`) it depends on, not through `stop_gradient`. Raises OptimizerError
        where there is none.
        """
        variables = variables_behind(ctx, graph, loss)
        if not variables:
            raise OptimizerError(
                "the loss depends on no trainable variable of the Context",
                expected="at least one trainable variable's value in what the loss is made of",
                got=repr(loss),
                hint="use variable.value_graph(graph) where the loss is computed, and not only "
                "in stop_gradient",
            )
        scaled = self.scale_loss(ctx, loss)
        gradients = gradients_of(scaled, [variable.input(graph) for variable in variables])
        named = {v.path: x for v, x in zip(variables, gradients, strict=True)}
        self.update_graph_with_gradients(ctx, named, loss.dtype)

    def scale_loss(self, ctx: Context, loss: Node) -> Node:
        """The loss times `loss_scale`, to differentiate; the update divides by it."""
        return scale_loss(self._context(ctx), loss)

    def update_graph_with_gradients(
        self,
        ctx: Context,
        gradients: Mapping[str, Node],
        loss_dtype: DTypeLike = float32,
        *,
        before: Mapping[str, Node] | None = None,
    ) -> None:
        """Adds one step to the graph of the gradients and sets the variables' new values in it.

        gradients: by name, for each trainable variable to update; of its shape, any float dtype.
        before: with `skip_nonfinite`, new values that a skipped step leaves to variables, by path;
            by default those that were set in the graph already.
        Slots and counters are created in `ctx` where they do not exist. Raises OptimizerError for
        gradients that do not fit.
        """
        ctx.check_rules()
        pairs = _pairs(ctx, gradients)
        graph = pairs[0][1].graph
        before = dict(graph.variable_values) if before is None else before
        ctx = self._context(ctx)
        dtype = self.compute_dtype(ctx, loss_dtype)
        prepared = prepare(ctx, pairs, dtype, zeroes=self.zeroes_gradients)
        count = step = increment_global_step_graph(ctx, graph)
        if self.uses_scope(ctx, [variable for variable, _ in pairs]):
            count = increment_counter_graph(ctx.at(self.scope), graph, "step")
            step = count if self.counts_steps else step
        for x in (step, count):
            check_counter(ctx, x, skips=prepared.good is not None)
        # The lines of someone else's rule are of interest, those of a rule of this package are not.
        # Nor does it do anything but append nodes, so that they can be copied.
        ours = is_of_package(type(self).__module__)
        line = graph.one_line() if ours else nullcontext()
        repeats = Repeats(ctx, graph, partial(self._slot_like, ctx))
        settings: dict[Hashable, Mapping[str, Resolved]] = {}
        with line:
            for (variable, _), gradient in zip(pairs, prepared.gradients, strict=True):
                sight = ctx.sight(variable)
                if sight not in settings:
                    settings[sight] = resolve_settings(self, ctx, variable)
                kind = repeats.kind(sight, variable, gradient)
                if ours and repeats.copy(kind, variable, gradient):
                    continue
                with repeats.tracing(kind, variable, gradient):
                    self._update_variable(ctx, variable, gradient, step, dtype, settings[sight])
                    if _averages(ctx, variable):
                        self._average(ctx, variable, count, dtype)
        if prepared.good is not None:
            keep_where_skipped(ctx, graph, prepared.good, before)

    def uses_scope(self, ctx: Context, variables: Iterable[Variable]) -> bool:
        """Whether it keeps state of its own in its scope: two such need two scopes."""
        ctx = self._context(ctx)
        return self.counts_steps or any(_averages(ctx, variable) for variable in variables)

    def _context(self, ctx: Context) -> Context:
        """Where its hyperparameters are looked up."""
        return ctx.with_defaults(dict(self.context_parameters))

    def _average(self, ctx: Context, variable: Variable, count: Node, dtype: DType) -> None:
        if EMA in [slot.kind for slot in self.slots]:
            raise OptimizerError(
                f"{type(self).__name__} has a slot of the kind {EMA!r} of its own",
                hint=f"give the slot another kind, or leave {PARAM_EMA_DECAY} out",
            )
        slot, graph = self.slot_variable(ctx, variable, Slot(EMA, EMA), dtype), count.graph
        setting = parameter(ctx.around(variable), PARAM_EMA_DECAY, 0.0)
        old, new = slot.value_graph(graph), variable.value_graph(graph)
        slot.set_value_graph(moving_average(ctx, setting, old, new, count))

    def _update_variable(
        self,
        ctx: Context,
        variable: Variable,
        gradient: Node,
        step: Node,
        dtype: DType,
        resolved: Mapping[str, Resolved],
    ) -> None:
        graph, here = gradient.graph, ctx.around(variable)
        for value in resolved.values():
            if value.has_variable:
                variable_of(value, ctx, dtype)  # created in the order of the settings
        h = Hyperparameters(resolved, ctx, graph, dtype, step)
        old = variable.value_graph(graph)
        low = LowPrecision.of(here, dtype, variable, step, gradient)
        old = ops.reshape(old, low.shape)
        kept = {slot.key: self._stored_slot(ctx, variable, slot, low) for slot in self.slots}
        before = {key: slot.value(graph, dtype) for key, slot in kept.items()}
        master = None
        if low.keeps_master:
            master = self.slot_variable(ctx, variable, Slot(MASTER, MASTER), dtype)
            old = master_or(old, ops.reshape(master.value_graph(graph), low.shape))
        start = ops.cast(old, dtype)
        change, after = self.update(start, low.gradient, before, h)
        if low.in_blocks:
            given = (start, low.gradient, *before.values())
            check_elementwise((change, *after.values()), given, type(self).__name__)
        change = h.hold_back(clip_step_by_value(here, change))
        # Subtracted in the wider dtype, so that neither operand is rounded first.
        wide = dtype if dtype.itemsize >= old.dtype.itemsize else old.dtype
        new = low.rounded(ops.cast(old, wide) - ops.cast(change, wide), old.dtype)
        new = clip_nans_in_updates(here, old, new)
        if master is not None:
            master.set_value_graph(ops.reshape(new, variable.shape))
        variable.set_value_graph(ops.reshape(ops.cast(new, variable.dtype), variable.shape))
        for key, slot in kept.items():
            slot.keep(after[key], low)

    def _stored_slot(
        self, ctx: Context, variable: Variable, slot: Slot, low: LowPrecision
    ) -> StoredSlot:
        kept = self.slot_variable(ctx, variable, slot, low.slot_dtype, low.shape)
        largest = None
        if low.in_blocks:
            kind = f"{slot.kind}_scale"
            largest = self.slot_variable(ctx, variable, Slot(kind, kind), float32, low.shape[:1])
        return StoredSlot(kept, largest, slot.range)

    def slot_variable(
        self,
        ctx: Context,
        variable: Variable,
        slot: Slot,
        dtype: DType,
        shape: tuple[int, ...] | None = None,
    ) -> Variable:
        """`<scope>/<path of the variable>_<kind>`, created with zeros if it does not exist.

        shape: the variable's by default.
        """
        return ctx.variable(
            f"{self.scope}{variable.path}_{slot.kind}",
            variable.shape if shape is None else shape,
            dtype,
            initializer=zeros(),
            trainable=False,
            role="slot",
            slot=slot.kind,
            of=variable.path,
        )

    def _slot_like(self, ctx: Context, spec: VariableSpec, variable: Variable) -> Variable:
        """A variable's slot as another variable of its shape has it."""
        slot = Slot(str(spec.slot), str(spec.slot))
        return self.slot_variable(ctx, variable, slot, spec.dtype, spec.shape)

    def clear(self, ctx: Context) -> None:
        """Deletes the slots and the step counter; the global step and the rate stay."""
        ctx.at(self.scope).delete_scope()


def _averages(ctx: Context, variable: Variable) -> bool:
    return not is_off(parameter(ctx.around(variable), PARAM_EMA_DECAY, 0.0), 0.0)


def variables_behind(ctx: Context, graph: Graph, loss: Node) -> list[Variable]:
    """The trainable variables whose values before the step a loss depends on, as created.

    Those that only `stop_gradient` lets through are not: a zero gradient would still decay them.
    """
    needed = followed(loss)
    return [v for v in ctx.root.trainable_variables() if graph.inputs.get(v.path) in needed]


def loss_compute_dtype(loss_dtype: DTypeLike) -> DType:
    """The dtype to compute in for a loss: its own, but float32 for a 16-bit float."""
    dtype = as_dtype(loss_dtype)
    if not dtype.is_float:
        raise OptimizerError("a loss has a float dtype", got=dtype.name)
    return float32 if dtype.is_half else dtype


def _pairs(ctx: Context, gradients: Mapping[str, Node]) -> list[tuple[Variable, Node]]:
    """Variables with their gradients, in the Context's order of the variables."""
    trainable = {v.path: v for v in ctx.root.trainable_variables()}
    if not gradients or not trainable:
        hint = "create trainable variables, and give a gradient for each one to update"
        got = f"{len(gradients)} gradients, {len(trainable)} trainable variables"
        raise OptimizerError("there is nothing to update", got=got, hint=hint)
    by_path = {name if name.startswith("/") else f"/{name}": g for name, g in gradients.items()}
    for path, gradient in by_path.items():
        if path not in trainable:
            expected = f"one of {', '.join(trainable)}"
            raise OptimizerError(f"no trainable variable {path!r}", expected=expected)
        variable = trainable[path]
        if gradient.shape != variable.shape or not gradient.dtype.is_float:
            raise OptimizerError(
                f"the gradient of {path!r} does not fit the variable",
                expected=f"a float dtype and shape {variable.shape}",
                got=repr(gradient),
            )
    return [(v, by_path[path]) for path, v in trainable.items() if path in by_path]
