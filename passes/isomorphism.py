"""When two updates are the same computation over different variables."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod

from stepforge.passes import arenas, bindings, reductions, rewriting
from stepforge.passes.arguments import MEMBERS, NAME, RESULT, ROLE
from stepforge.passes.bindings import Attributes, func, ir


@dataclass(frozen=True, slots=True)
class Column:
    """An argument of the function that an update reads, or replaces, at each element."""

    number: int
    attributes: Attributes
    type: ir.RankedTensorType
    name: str
    kind: arenas.Kind


@dataclass(frozen=True, slots=True)
class Update:
    """A loop over one variable that computes new state; equal signatures may become one loop."""

    loop: ir.Operation
    columns: tuple[Column, ...]
    reads: tuple[int | None, ...]
    """For each operand of the loop its column; None: the same number for all elements."""
    signature: Hashable

    @property
    def size(self) -> int:
        return prod(self.columns[0].type.shape)


def find_updates(function: func.FuncOp, attributes: Sequence[Attributes]) -> list[Update]:
    """The element-wise updates of state that nothing else reads.

    attributes: of the function's arguments.
    """
    columns = {
        argument: Column(
            number, attrs, argument.type, str(bindings.text(attrs[NAME])), arenas.kind_of(attrs)
        )
        for number, (argument, attrs) in enumerate(zip(function.arguments, attributes, strict=True))
        if isinstance(argument.type, ir.RankedTensorType) and NAME in attrs
        if MEMBERS not in attrs  # packed already
    }
    replaced = {
        index: argument
        for argument, column in columns.items()
        if (index := bindings.integer(column.attributes.get(RESULT))) is not None
    }
    returned = bindings.return_of(function)
    positions = dict[ir.Value, list[int]]()
    for index, value in enumerate(returned.operands):
        positions.setdefault(value, []).append(index)
    bodies, found = _Bodies(), list[Update]()
    for op in bindings.operations(bindings.body(function)):
        if not rewriting.is_elementwise_generic(op):
            continue
        update = _read(op, columns, replaced, positions, bodies)
        if update is not None:
            found.append(update)
    # In the order of the arguments, which functions share; the loops of each have their own.
    return sorted(found, key=lambda update: min(column.number for column in update.columns))


def _read(
    op: ir.Operation,
    columns: Mapping[ir.Value, Column],
    replaced: Mapping[int, ir.Value],
    positions: Mapping[ir.Value, list[int]],
    bodies: _Bodies,
) -> Update | None:
    """The update that a loop is; None where it is none, or reads what cannot be packed."""
    states = list[ir.Value]()  # what each result replaces
    for result in op.results:
        places = positions.get(result, [])
        if len(places) != 1 or len(bindings.users(result)) != 1 or places[0] not in replaced:
            return None
        states.append(replaced[places[0]])
    numbers = dict[ir.Value, int]()  # argument -> its column
    reads, shared = list[int | None](), list[Hashable]()
    for value, map_ in rewriting.inputs(op):
        is_own = value in columns and map_ == ir.AffineMap.get_identity(map_.n_dims)
        if is_own and columns[value].type.rank == map_.n_dims:
            reads.append(numbers.setdefault(value, len(numbers)))
        elif reductions.is_constant(map_):
            reads.append(None)
            shared.append((value, tuple(str(x) for x in map_.results)))
        else:
            return None
    for state in states:
        numbers.setdefault(state, len(numbers))
    body = bodies.number(op)
    own = [columns[value] for value in numbers]
    if body is None or not all(_may_move(value, op, columns) for value in numbers):
        return None
    types = tuple(column.type.element_type for column in own)
    roles = tuple(bindings.text(column.attributes.get(ROLE)) for column in own)
    written = tuple(numbers[state] for state in states)
    signature = (tuple(reads), tuple(shared), types, roles, written, body)
    return Update(op, tuple(own), tuple(reads), signature)


def _may_move(value: ir.Value, op: ir.Operation, columns: Mapping[ir.Value, Column]) -> bool:
    """Whether only this update reads an argument; what else reads a gradient gets a view."""
    column = columns[value]
    if column.kind == "gradient":
        return True
    return RESULT in column.attributes and all(user == op for user in bindings.users(value))


_COMPARED = 4  # bodies that a body is compared with before it is read


@dataclass(slots=True)
class _Bodies:
    """Numbers for bodies, equal for equal signatures.

    To compare two takes MLIR a tenth of the time that it takes to read one here.
    """

    numbers: dict[Hashable, int] = field(default_factory=dict[Hashable, int])
    last: list[tuple[ir.Operation, int | None]] = field(
        default_factory=list[tuple[ir.Operation, "int | None"]]
    )
    """Loops whose bodies differ, and the bodies' numbers."""

    def number(self, op: ir.Operation) -> int | None:
        """None where there is no signature."""
        for other, number in self.last:
            if bindings.same_body(op, other):
                return number
        signature = body_signature(op)
        number = None
        if signature is not None:
            number = self.numbers.setdefault(signature, len(self.numbers))
        self.last = [(op, number), *self.last[: _COMPARED - 1]]
        return number


_COMMUTATIVE = ("arith.addf", "arith.mulf", "arith.addi", "arith.muli")


@dataclass(frozen=True, slots=True)
class _Constant:
    attributes: Hashable


def body_signature(op: ir.Operation) -> Hashable | None:
    """The body with its values numbered; values from outside are themselves. None: it asks where
    it is, which packing would change."""
    block = op.regions[0].blocks[0]
    numbers: dict[ir.Value, Hashable] = {value: k for k, value in enumerate(block.arguments)}
    rows = list[Hashable]()
    for step in bindings.operations(block):
        if step.name in ("linalg.index", "tensor.extract"):
            return None
        operands = tuple(numbers.get(value, value) for value in step.operands)
        attributes = tuple(bindings.attributes(step).items())
        if step.name == "arith.constant":  # wherever it stands
            numbers[step.results[0]] = _Constant(attributes)
            continue
        if step.name in _COMMUTATIVE:  # of which folding puts the constant last, at rank 0 alone
            operands = tuple(sorted(operands, key=lambda operand: isinstance(operand, _Constant)))
        rows.append((step.name, operands, attributes, tuple(r.type for r in step.results)))
        for result in step.results:
            numbers[result] = ("result", len(rows))
    return tuple(rows)
