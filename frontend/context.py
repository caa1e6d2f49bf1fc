"""Context: scoped variables and hyperparameters."""

from __future__ import annotations

from collections.abc import Generator, Hashable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar, overload
from weakref import WeakKeyDictionary

from stepforge.frontend.dtypes import DTypeLike, as_dtype
from stepforge.frontend.errors import ContextError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.hyperparameters import (
    KNOWN_HYPERPARAMETERS,
    canonical_name,
    check_value,
    without_alias,
)
from stepforge.frontend.initializers import Initializer, required
from stepforge.frontend.ops.source import as_shape
from stepforge.frontend.rules import FROZEN, Rule, check_rules, found_in, rule_of
from stepforge.frontend.variables import Role, Storage, Variable, VariableSpec, check_same

T = TypeVar("T")


@dataclass(slots=True)
class _Store:
    """What all views of one Context share."""

    variables: dict[str, Variable] = field(default_factory=dict[str, Variable])
    params: dict[str, dict[str, Any]] = field(default_factory=dict[str, dict[str, Any]])
    outputs: WeakKeyDictionary[Graph, dict[str, Node]] = field(
        default_factory=WeakKeyDictionary[Graph, dict[str, Node]]
    )
    training: WeakKeyDictionary[Graph, bool] = field(default_factory=WeakKeyDictionary[Graph, bool])
    counts: WeakKeyDictionary[Graph, dict[str, int]] = field(
        default_factory=WeakKeyDictionary[Graph, dict[str, int]]
    )
    frozen: dict[str, bool] = field(default_factory=dict[str, bool])
    """By scope: whether its variables are frozen."""
    rules: list[Rule] = field(default_factory=list[Rule])
    """In the order in which they were set."""


class Context:
    """A tree of scopes that hold variables and hyperparameters.

    `ctx.at("layer_0")` is a child scope; it shares everything with its parent. A name that starts
    with a slash is a path from the root; any other is relative to the scope. Names may hold
    slashes and are kept as given: `ctx.variable("encoder/w")` is `ctx.at("encoder").variable("w")`.
    """

    def __init__(self) -> None:
        self._store = _Store()
        self._prefix = ""
        self._defaults: Mapping[str, Any] = {}
        self._of = ""

    @property
    def scope(self) -> str:
        """The path of this scope: `/` for the root."""
        return self._prefix or "/"

    def __repr__(self) -> str:
        return f"<Context {self.scope!r}, {sum(1 for _ in self)} variables>"

    def at(self, scope: str) -> Context:
        """The view of a scope below this one, or from the root if it starts with a slash."""
        return self._view("" if scope == "/" else self._path(scope), self._defaults)

    @property
    def root(self) -> Context:
        return self.at("/")

    def with_defaults(self, params: Mapping[str, Any]) -> Context:
        """The same scope, where parameters set nowhere are looked up in `params` last."""
        return self._view(self._prefix, {**params, **self._defaults})

    def around(self, variable: Variable) -> Context:
        """Where hyperparameters of a variable are looked up: in the rules that match it, then from
        its own scope on, if that is below this one."""
        inside = self._holds(variable.path)
        scope = variable.path.rpartition("/")[0] if inside else self._prefix
        view = self._view(scope, self._defaults)
        view._of = variable.path
        return view

    def sight(self, variable: Variable) -> Hashable:
        """What decides which hyperparameters are found `around` a variable: those with equal ones
        have equal hyperparameters, as long as nothing is set."""
        scope, scopes = self.around(variable)._prefix, list[str]()
        while scope:
            if scope in self._store.params:
                scopes.append(scope)
            scope = scope.rpartition("/")[0]
        rules = enumerate(self._store.rules)
        return (*scopes, *(i for i, rule in rules if rule.matches(variable.path)))

    def _view(self, prefix: str, defaults: Mapping[str, Any]) -> Context:
        view = Context.__new__(Context)  # without a store of its own
        view._store, view._prefix, view._defaults = self._store, prefix, defaults
        view._of = ""
        return view

    def _path(self, name: str) -> str:
        if not name or name.endswith("/"):
            raise ContextError("a name is not empty and does not end with a slash", got=repr(name))
        return name if name.startswith("/") else f"{self._prefix}/{name}"

    # Hyperparameters

    def set_param(self, name: str, value: Any, *, custom: bool = False) -> None:
        """Sets a hyperparameter in this scope; scopes below see it unless they have their own.

        value: a plain value, for a numeric one also Settable, for a float also a Schedule.
        custom: a name of your own, with any value. Without it, raises UnknownNameError for a name
        that is not in KNOWN_HYPERPARAMETERS, and HyperparameterError for a value out of bounds.
        """
        if custom and name not in KNOWN_HYPERPARAMETERS:
            self._store.params.setdefault(self.scope, {})[name] = value
            return
        known = canonical_name(name)
        self._store.params.setdefault(self.scope, {})[known] = check_value(known, value)

    def set_params(self, params: Mapping[str, Any]) -> None:
        """Sets several hyperparameters in this scope: all, or none when one is wrong."""
        checked = {(n := canonical_name(name)): check_value(n, v) for name, v in params.items()}
        self._store.params.setdefault(self.scope, {}).update(checked)

    def set_params_for(
        self, pattern: str, params: Mapping[str, Any], *, custom: bool = False
    ) -> None:
        """A rule: sets hyperparameters of the parameters of this scope and below, also later ones,
        whose names match a glob: `ctx.set_params_for("*.bias", {"adam_weight_decay": 0.0})`.

        pattern: of names as given, relative to this scope, or from the root if it starts with a
            slash. `*` stands for any text, slashes and dots too.
        params: as `set_params` takes them; `frozen` (a bool) is what `freeze` says.
        custom: take names of an optimizer's own, too, whose values are checked when it reads them.

        A rule goes before the optimizer's own arguments and before every scope; of several that
        match and give a hyperparameter the last one set wins. One that matches no parameter raises
        ContextError when the update is built. Raises FrontendError for what `set_params` refuses,
        and for a hyperparameter that is one for all parameters; then nothing was set.
        """
        self._store.rules.append(rule_of(self._prefix, pattern, params, custom=custom))

    def find_rule(self, name: str) -> tuple[Rule, Any] | None:
        """The rule that gives a hyperparameter to the variable that this view is `around`, and the
        value; None without one."""
        return found_in(self._store.rules, self._of, without_alias(name)) if self._of else None

    def narrower(self) -> list[str]:
        """What says something of some parameters alone: globs of rules, and scopes below the root
        that set a hyperparameter or freeze."""
        store = self._store
        scopes = dict.fromkeys((*store.params, *store.frozen))
        return [*(rule.name for rule in store.rules), *(s for s in scopes if s != "/")]

    def check_rules(self) -> None:
        """Raises ContextError for a rule that matches no parameter of the Context."""
        check_rules(self._store.rules, [v.path for v in self.root if v.trainable])

    @overload
    def get_param(self, name: str) -> Any: ...
    @overload
    def get_param(self, name: str, default: T) -> Any | T: ...
    def get_param(self, name: str, default: Any = None) -> Any:
        """The hyperparameter set in this scope or the nearest above it; else `default`.

        In the view `around` a variable, what a rule gives goes first.
        """
        found = self.find_rule(name) or self.find_param(name)
        return default if found is None else found[1]

    def find_param(self, name: str) -> tuple[str, Any] | None:
        """(scope, value) of the nearest scope that sets a hyperparameter; None if none does."""
        name = without_alias(name)
        scope = self._prefix
        while True:
            params = self._store.params.get(scope or "/", {})
            if name in params:
                return scope or "/", params[name]
            if not scope:
                break
            scope = scope.rpartition("/")[0]
        return ("/", self._defaults[name]) if name in self._defaults else None

    def visible_params(self) -> dict[str, Any]:
        """All hyperparameters that this scope sees, by name."""
        above = {} if not self._prefix else self._parent().visible_params()
        return {**self._defaults, **above, **self._store.params.get(self.scope, {})}

    def _parent(self) -> Context:
        return self._view(self._prefix.rpartition("/")[0], self._defaults)

    # Variables

    def variable(
        self,
        name: str,
        shape: tuple[int, ...] | list[int] = (),
        dtype: DTypeLike = "float32",
        *,
        initializer: Initializer | None = None,
        trainable: bool = True,
        storage: Storage = "device",
        role: Role | None = None,
        slot: str | None = None,
        of: str | None = None,
    ) -> Variable:
        """Creates a variable, or reuses the one that exists with the same shape and dtype.

        initializer: None means `required`: the user gives the first value.
        trainable: optimizers change it. storage, role, slot, of: see VariableSpec; by default the
        role is `parameter` if trainable, else `buffer`.
        Raises ContextError when the name is taken by a different variable.
        """
        spec = VariableSpec(
            name=self._path(name),
            role=role or ("parameter" if trainable else "buffer"),
            dtype=as_dtype(dtype),
            shape=as_shape(shape),
            storage=storage,
            initializer=required() if initializer is None else initializer,
            trainable=trainable,
            slot=slot,
            of=of,
        )
        found = self._store.variables.get(spec.name)
        if found is not None:
            check_same(found, spec)
            return found
        _check_new(spec)
        created = Variable(spec)
        self._store.variables[spec.name] = created
        return created

    def find_variable(self, name: str) -> Variable | None:
        """The variable of that name, or None."""
        return self._store.variables.get(self._path(name))

    def get_variable(self, name: str) -> Variable:
        """The variable of that name. Raises ContextError when there is none."""
        found = self.find_variable(name)
        if found is None:
            here = ", ".join(v.path for v in self) or "none"
            raise ContextError(f"no variable {self._path(name)!r}", expected=f"one of {here}")
        return found

    def __iter__(self) -> Iterator[Variable]:
        """The variables of this scope and of those below, in order of creation."""
        return iter([v for v in self._store.variables.values() if self._holds(v.path)])

    def trainable_variables(self) -> list[Variable]:
        """The trainable variables of this scope and below, without frozen ones, as created."""
        return [v for v in self if v.trainable and not self.is_frozen(v)]

    def freeze(self, pattern: str | None = None, *, frozen: bool = True) -> None:
        """Makes the variables of this scope and below, also later ones, keep their values.

        Frozen variables get neither a gradient nor slots. The nearest scope decides:
        `ctx.freeze(); ctx.at("head").freeze(frozen=False)` trains the head alone.

        pattern: only those whose names match, by a rule as of `set_params_for`.
        """
        if pattern is None:
            self._store.frozen[self.scope] = frozen
        else:
            self.set_params_for(pattern, {FROZEN: frozen})

    def is_frozen(self, variable: Variable) -> bool:
        """Whether the last rule, else the nearest scope, that says so freezes a variable."""
        rule = found_in(self._store.rules, variable.path, FROZEN)
        if rule is not None:
            return bool(rule[1])
        scope = variable.path.rpartition("/")[0]
        while scope and scope not in self._store.frozen:
            scope = scope.rpartition("/")[0]
        return self._store.frozen.get(scope or "/", False)

    def frozen_spec(self, variable: Variable) -> VariableSpec:
        """What is fixed about a variable; a frozen one is not trainable."""
        spec = variable.spec
        return replace(spec, trainable=False) if self.is_frozen(variable) else spec

    def delete_variable(self, name: str) -> None:
        """Forgets a variable. Raises ContextError when there is none."""
        del self._store.variables[self.get_variable(name).path]

    def delete_scope(self) -> None:
        """Forgets all variables of this scope and below; hyperparameters stay."""
        for variable in list(self):
            del self._store.variables[variable.path]

    def _holds(self, path: str) -> bool:
        return path.startswith(f"{self._prefix}/")

    @contextmanager
    def unchanged_on_error(self) -> Generator[None]:
        """Where what is done inside raises, variables, hyperparameters, rules and frozen scopes are
        as they were, so that nothing is in the way of the next try."""
        store = self._store
        variables, frozen, rules = dict(store.variables), dict(store.frozen), list(store.rules)
        params = {scope: dict(values) for scope, values in store.params.items()}
        try:
            yield
        except BaseException:
            store.variables, store.params, store.frozen = variables, params, frozen
            store.rules = rules
            raise

    # Graphs

    def set_training(self, graph: Graph, training: bool) -> None:
        """Says whether `graph` is of a step that trains."""
        self._store.training[graph] = training

    def is_training(self, graph: Graph) -> bool:
        """Whether `graph` is of a step that trains, and so dropout drops; False by default."""
        return self._store.training.get(graph, False)

    def numbered(self, graph: Graph, name: str) -> str:
        """The path of `name` with a number: 0 the first time that `graph` asks for it, then 1, ...

        It tells apart what a scope holds several of, and is the same in every graph of a model.
        """
        path, counts = self._path(name), self._store.counts.setdefault(graph, {})
        counts[path] = counts.get(path, -1) + 1
        return f"{path}_{counts[path]}"

    def add_output(self, graph: Graph, name: str, node: Node) -> None:
        """Makes a node an output of the step that `graph` becomes, under a name of its own."""
        outputs = self._store.outputs.setdefault(graph, {})
        if name in outputs or name.startswith("/"):
            hint = "take a name that is not a path and not used before"
            raise ContextError(f"the output name {name!r} is taken", hint=hint)
        outputs[name] = node

    def outputs(self, graph: Graph) -> Mapping[str, Node]:
        """The outputs added to `graph`, in order."""
        return dict(self._store.outputs.get(graph, {}))


def _check_new(spec: VariableSpec) -> None:
    if spec.storage == "host" and spec.shape:
        raise ContextError(f"{spec.name}: a host variable has rank 0", got=spec.shape)
    if spec.storage == "host" and (spec.trainable or spec.role in ("parameter", "slot")):
        raise ContextError(
            f"{spec.name}: parameters and slots live on the device",
            got=f"storage='host', role={spec.role!r}, trainable={spec.trainable}",
            hint="leave the storage out, or give trainable=False",
        )
    random = spec.initializer.kind not in ("required", "zeros", "ones", "constant")
    if random and not spec.dtype.is_float:
        got = f"{spec.initializer.kind} for {spec.dtype.name}"
        raise ContextError(f"{spec.name}: a random initializer needs a float dtype", got=got)
