"""Graph and Node: an append-only list of immutable, typed operations."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NoReturn

from stepforge.frontend.dtypes import DType, DTypeLike, TensorType, as_dtype
from stepforge.frontend.errors import GraphError, user_location
from stepforge.frontend.ops import arithmetic, logic, unary
from stepforge.frontend.ops.apply import Operand
from stepforge.frontend.ops.op import Op, Value
from stepforge.frontend.ops.source import CONSTANT, INPUT, as_constant_value, as_shape


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Node(Value):
    """One operation of a graph, and its result. Nodes are equal only to themselves.

    Operators append to the node's graph. A Python number beside a node becomes a constant of the
    node's dtype, and a rank-0 node is broadcast; every other difference of dtype or shape raises.
    """

    graph: Graph
    id: int
    """The index in `graph.nodes`."""
    op: str
    inputs: tuple[Node, ...]
    attributes: Mapping[str, Any]
    type: TensorType
    location: str
    """`file.py:12` of the user's line that made the node."""

    # NumPy operands must ask this class instead of looping over their elements.
    __array_ufunc__ = None

    @property
    def dtype(self) -> DType:
        return self.type.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.type.shape

    @property
    def rank(self) -> int:
        return self.type.rank

    def __repr__(self) -> str:
        at = f" at {self.location}" if self.location else ""
        return f"<%{self.id} = {self.op} : {self.type}{at}>"

    def __bool__(self) -> NoReturn:
        raise GraphError(
            "a node has no truth value while the graph is built",
            got=repr(self),
            hint="choose between values with ops.where(condition, a, b)",
        )

    def __add__(self, other: Operand) -> Node:
        return arithmetic.add(self, other)

    def __radd__(self, other: Operand) -> Node:
        return arithmetic.add(other, self)

    def __sub__(self, other: Operand) -> Node:
        return arithmetic.sub(self, other)

    def __rsub__(self, other: Operand) -> Node:
        return arithmetic.sub(other, self)

    def __mul__(self, other: Operand) -> Node:
        return arithmetic.mul(self, other)

    def __rmul__(self, other: Operand) -> Node:
        return arithmetic.mul(other, self)

    def __truediv__(self, other: Operand) -> Node:
        return arithmetic.div(self, other)

    def __rtruediv__(self, other: Operand) -> Node:
        return arithmetic.div(other, self)

    def __pow__(self, other: Operand) -> Node:
        return arithmetic.pow(self, other)

    def __rpow__(self, other: Operand) -> Node:
        return arithmetic.pow(other, self)

    def __neg__(self) -> Node:
        return unary.neg(self)

    def __abs__(self) -> Node:
        return unary.abs(self)

    def __lt__(self, other: Operand) -> Node:
        return logic.less(self, other)

    def __le__(self, other: Operand) -> Node:
        return logic.less_equal(self, other)

    def __gt__(self, other: Operand) -> Node:
        return logic.greater(self, other)

    def __ge__(self, other: Operand) -> Node:
        return logic.greater_equal(self, other)


class Graph:
    """An append-only list of nodes; every node's inputs stand before it."""

    def __init__(self, name: str = "") -> None:
        self.name = name
        self.variable_values: dict[str, Node] = {}
        """The newest value of each variable while a graph is traced, by path."""
        self.partials: dict[Node, str] = {}
        """While a graph is traced: sums over all gradients of a step, of rank 0; their names."""
        self._nodes: list[Node] = []
        self._inputs: dict[str, Node] = {}
        self._location: str | None = None

    @property
    def nodes(self) -> tuple[Node, ...]:
        return tuple(self._nodes)

    @property
    def next_id(self) -> int:
        """The id of the node that is added next."""
        return len(self._nodes)

    @property
    def inputs(self) -> Mapping[str, Node]:
        """The input nodes by name, in order of creation."""
        return MappingProxyType(self._inputs)

    def __repr__(self) -> str:
        return f"<Graph {self.name!r}, {len(self._nodes)} nodes>"

    def input(self, name: str, dtype: DTypeLike, shape: Iterable[int] = ()) -> Node:
        """A value that comes from outside. Raises GraphError when the name is taken."""
        attributes = {"name": name, "dtype": as_dtype(dtype), "shape": as_shape(shape)}
        return self.add(INPUT, (), attributes)

    def constant(self, value: object, dtype: DTypeLike, shape: Iterable[int] | None = None) -> Node:
        """A constant. The value is kept exactly and rounded to the dtype, once, when it is used.

        value: a number, a NumPy array, or nested sequences of numbers.
        shape: by default the value's own; a single number fills any shape.
        Raises DTypeError when a number does not fit the dtype (a float in an integer node, 1e300
        in a float32 one), ShapeError when nested values do not have the shape.
        """
        exact = as_constant_value(value)
        full = _nested_shape(exact) if shape is None else as_shape(shape)
        return self.add(CONSTANT, (), {"value": exact, "dtype": as_dtype(dtype), "shape": full})

    def add(
        self,
        op: Op,
        inputs: Sequence[Node],
        attributes: Mapping[str, Any],
        *,
        location: str | None = None,
    ) -> Node:
        """Appends a node: checks the operands, infers the type, notes the user's line.

        The functions of `stepforge.frontend.ops` are the usual way to call it.
        """
        for node in inputs:
            if node.graph is not self:
                raise GraphError(
                    f"{op.name}: all operands must be nodes of one graph",
                    expected=repr(self),
                    got=f"{node!r} of {node.graph!r}",
                )
        if op is INPUT:
            self._check_name(attributes["name"])
        node = Node(
            graph=self,
            id=len(self._nodes),
            op=op.name,
            inputs=tuple(inputs),
            attributes=MappingProxyType(dict(attributes)),
            type=op.infer([x.type for x in inputs], attributes),
            location=self._here() if location is None else location,
        )
        return self._append(node)

    def add_copy(self, node: Node, inputs: Sequence[Node], *, name: str | None = None) -> Node:
        """Appends what a node is, maybe another graph's, with operands of the same types.

        name: of an input, if it is another one.
        """
        attributes = node.attributes
        if name is not None:
            attributes = MappingProxyType({**attributes, "name": name})
        if node.op == INPUT.name:
            self._check_name(attributes["name"])
        copy = Node(
            graph=self,
            id=len(self._nodes),
            op=node.op,
            inputs=tuple(inputs),
            attributes=attributes,
            type=node.type,
            location=node.location,
        )
        return self._append(copy)

    def one_line(self) -> AbstractContextManager[None]:
        """Nodes that are added inside, all for one line of the user's, note it without a search."""
        return self._noting(self._here())

    @contextmanager
    def _noting(self, location: str) -> Generator[None]:
        before, self._location = self._location, location
        try:
            yield
        finally:
            self._location = before

    def _here(self) -> str:
        return user_location() if self._location is None else self._location

    def _append(self, node: Node) -> Node:
        self._nodes.append(node)
        if node.op == INPUT.name:
            self._inputs[node.attributes["name"]] = node
        return node

    def _check_name(self, name: str) -> None:
        if name in self._inputs:
            raise GraphError(
                f"a graph's input names are unique, and {name!r} is taken",
                got=repr(self._inputs[name]),
            )


def _nested_shape(value: object) -> tuple[int, ...]:
    sizes: list[int] = []
    while isinstance(value, tuple):
        sizes.append(len(value))  # pyright: ignore[reportUnknownArgumentType]
        if not value:
            break
        value = value[0]  # pyright: ignore[reportUnknownVariableType]
    return tuple(sizes)
