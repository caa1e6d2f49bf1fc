"""Variables: named state of a step, declared in a Context and read and set in its graphs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from stepforge.frontend.dtypes import Array, DType, convert
from stepforge.frontend.errors import ContextError, DTypeError, ShapeError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.initializers import Initializer, constant

Role: TypeAlias = Literal["parameter", "slot", "counter", "hyperparameter", "buffer"]
Storage: TypeAlias = Literal["device", "host"]


@dataclass(frozen=True, slots=True, kw_only=True)
class VariableSpec:
    """What is fixed about a variable."""

    name: str
    """Its path from the root, such as `/encoder/w`."""
    role: Role
    dtype: DType
    shape: tuple[int, ...]
    storage: Storage
    """`host`: a rank-0 number that the runtime keeps and passes to the step by value."""
    initializer: Initializer
    trainable: bool
    slot: str | None = None
    """Of a slot: its kind, such as `1st_moment`."""
    of: str | None = None
    """Of a slot: the path of its parameter."""
    group: int | None = None
    """Of a parameter or a slot: the index of its group of hyperparameters in a Program."""


class Variable:
    """One variable of a Context. Create it with `Context.variable`."""

    __slots__ = ("_spec", "_value")

    def __init__(self, spec: VariableSpec) -> None:
        self._spec = spec
        self._value: Array | None = None

    @property
    def spec(self) -> VariableSpec:
        return self._spec

    @property
    def path(self) -> str:
        return self._spec.name

    @property
    def scope(self) -> str:
        """The path of the scope that holds it: `/` for the root."""
        return self.path.rpartition("/")[0] or "/"

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def dtype(self) -> DType:
        return self._spec.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self._spec.shape

    @property
    def trainable(self) -> bool:
        return self._spec.trainable

    def __repr__(self) -> str:
        return f"<Variable {self.path!r} {self.dtype.name}{list(self.shape)}, {self._spec.role}>"

    @property
    def value(self) -> Array:
        """A copy of the value: what `set_value` set, else what the initializer draws.

        It belongs to the Context, not to a compiled step, whose runtime has its own.
        """
        if self._value is None:
            return self._spec.initializer.sample(self.path, self.dtype, self.shape)
        return self._value.copy()

    def set_value(self, value: ArrayLike) -> None:
        """Sets the Context's value. Raises ShapeError or DTypeError where it does not fit.

        Python numbers and lists take the variable's dtype; arrays must have it.
        """
        array = np.asarray(value)
        if array.shape != self.shape:
            raise ShapeError(f"{self.path}: wrong shape", expected=self.shape, got=array.shape)
        if isinstance(value, np.ndarray | np.generic) and array.dtype != self.dtype.numpy:
            hint = f"convert it, for example with .astype({self.dtype.name!r})"
            got = array.dtype
            raise DTypeError(f"{self.path}: wrong dtype", expected=self.dtype, got=got, hint=hint)
        if self.shape:
            self._value = convert(array, self.dtype).copy()
        else:
            # Kept exactly: the runtime rounds a host variable only where it is used.
            self._spec = replace(self._spec, initializer=constant(array.item()))

    def input(self, graph: Graph) -> Node:
        """The value before the step: the graph's input named by the path."""
        found = graph.inputs.get(self.path)
        return graph.input(self.path, self.dtype, self.shape) if found is None else found

    def value_graph(self, graph: Graph) -> Node:
        """The newest value in the graph: what was set last, else the value before the step."""
        found = graph.variable_values.get(self.path)
        return self.input(graph) if found is None else found

    def set_value_graph(self, node: Node) -> None:
        """Makes `node` the variable's new value. Raises ShapeError or DTypeError if it differs."""
        if node.shape != self.shape:
            rule = f"{self.path}: a new value has the variable's shape"
            raise ShapeError(rule, expected=self.shape, got=repr(node))
        if node.dtype != self.dtype:
            hint = f'convert it with ops.cast(x, "{self.dtype.name}")'
            rule = f"{self.path}: a new value has the variable's dtype"
            raise DTypeError(rule, expected=self.dtype, got=repr(node), hint=hint)
        node.graph.variable_values[self.path] = node


def check_same(variable: Variable, spec: VariableSpec) -> None:
    """Raises ContextError unless a variable that exists is what `spec` asks for.

    The initializer is not compared: a variable keeps the value that it has.
    """
    had = variable.spec
    for field in ("role", "dtype", "shape", "storage", "trainable"):
        if getattr(had, field) != getattr(spec, field):
            raise ContextError(
                f"the variable {spec.name!r} exists already, with another {field}",
                expected=repr(getattr(had, field)),
                got=repr(getattr(spec, field)),
                hint="choose another name, or delete the old variable first"
                + ("; no variable's shape may follow the batch size" if field == "shape" else ""),
            )
