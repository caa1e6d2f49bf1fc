"""Rewriting a function so that groups of updates become one loop over arenas each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from stepforge.passes import arenas, bindings, rewriting
from stepforge.passes.arenas import ALIGNED_BYTES, Arena
from stepforge.passes.arguments import NAME, RESULT, ROLE
from stepforge.passes.bindings import Attributes, func, ir, tensor
from stepforge.passes.isomorphism import Column, Update

ArenaKey: TypeAlias = tuple[arenas.Kind, tuple[str, ...]]
"""Of an arena: what it holds, of which variables."""


@dataclass(frozen=True, slots=True)
class Group:
    """Updates that become one, in the order of their variables."""

    updates: tuple[Update, ...]
    shards: int = 1
    """Into how many equal ranges its arenas divide."""

    @property
    def keys(self) -> tuple[ArenaKey, ...]:
        """One arena for each column."""
        rows = zip(*(update.columns for update in self.updates), strict=True)
        return tuple((row[0].kind, tuple(column.name for column in row)) for row in rows)

    @property
    def align(self) -> int:
        return alignment(self.updates[0])

    @property
    def size(self) -> int:
        """Elements of each of its arenas."""
        return arenas.length([update.size for update in self.updates], self.align, self.shards)


def width(column: Column) -> int:
    """Bytes of an element."""
    element = column.type.element_type
    bits = element.width if isinstance(element, ir.IntegerType | ir.FloatType) else 8
    return max(8, bits) // 8


def alignment(update: Update) -> int:
    """In elements, the same for all columns: the narrowest decides."""
    return ALIGNED_BYTES // min(width(column) for column in update.columns)


@dataclass(frozen=True, slots=True)
class _Place:
    """A new argument: an old one as it was, or the arena of a column of a group."""

    type: ir.Type
    attributes: Attributes
    old: int | None
    group: int | None = None
    column: int | None = None


def pack(
    function: func.FuncOp,
    attributes: Sequence[Attributes],
    groups: Sequence[Group],
    names: dict[ArenaKey, Arena],
) -> None:
    """Replace a function by one whose arguments and results are arenas.

    attributes: of its arguments. names: the arenas of the module so far; new ones are added.
    """
    places = _places(function, attributes, groups, names)
    made_by = _results(groups)
    returned = bindings.return_of(function)
    kept = list[tuple[int, ir.Value | tuple[int, int]]]()  # old index, and the value or its arena
    seen = dict[tuple[int, int], None]()
    for index, value in enumerate(returned.operands):
        arena = made_by.get(value)
        if arena is None:
            kept.append((index, value))
        elif arena not in seen:
            seen[arena] = None
            kept.append((index, arena))
    types = [
        _result_type(groups, value) if isinstance(value, tuple) else value.type for _, value in kept
    ]
    new = _empty_twin(function, [place.type for place in places], types)
    block = bindings.body(new)
    for op in bindings.operations(bindings.body(function)):
        op.detach_from_parent()
        block.append(op)
    arguments = dict[tuple[int, int], ir.Value]()
    for place, argument in zip(places, block.arguments, strict=True):
        if place.old is not None:
            function.arguments[place.old].replace_all_uses_with(argument)
        else:
            assert place.group is not None
            assert place.column is not None
            arguments[place.group, place.column] = argument
    with ir.InsertionPoint(returned):
        loops = [_loop(group, number, arguments) for number, group in enumerate(groups)]
        values = [
            loops[value[0]].results[value[1]] if isinstance(value, tuple) else value
            for _, value in kept
        ]
        func.ReturnOp(values, loc=returned.location)
    returned.erase()
    with ir.InsertionPoint.at_block_begin(block), function.location:
        for (g, c), argument in arguments.items():
            _show_members(function, groups[g], c, argument)
    for group in groups:
        for update in group.updates:
            update.loop.erase()
    rewriting.erase_dead(block)
    position = {old: index for index, (old, _) in enumerate(kept)}
    bindings.set_argument_attributes(new, [_renumbered(p.attributes, position) for p in places])
    function.operation.erase()


def view(
    function: func.FuncOp, attributes: Sequence[Attributes], gradients: Sequence[Arena]
) -> None:
    """Replace gradients of a function that does not update by arenas that others keep them in."""
    number = {
        bindings.text(attrs.get(NAME)): index
        for index, attrs in enumerate(attributes)
        if NAME in attrs and arenas.kind_of(attrs) == "gradient"
    }
    first = {number[arena.members[0]]: arena for arena in gradients}
    packed = {number[member] for arena in gradients for member in arena.members}
    places = list[tuple[ir.Type, Attributes, int | Arena]]()
    for index, (type_, attrs) in enumerate(zip(function.type.inputs, attributes, strict=True)):
        if index not in packed:
            places.append((type_, attrs, index))
        elif index in first:
            arena = first[index]
            flat = ir.RankedTensorType.get([arena.size], type_.element_type)
            places.append((flat, arenas.attributes(arena, "gradient"), arena))
    new = _empty_twin(function, [type_ for type_, _, _ in places], function.type.results)
    block = bindings.body(new)
    with ir.InsertionPoint(block), function.location:
        for (_, _, place), argument in zip(places, block.arguments, strict=True):
            if isinstance(place, int):
                function.arguments[place].replace_all_uses_with(argument)
                continue
            old = [function.arguments[number[member]] for member in place.members]
            starts = arenas.offsets([prod(x.type.shape) for x in old], place.align)
            for value, start in zip(old, starts, strict=True):
                value.replace_all_uses_with(_part(argument, start, value.type))
    for op in bindings.operations(bindings.body(function)):
        op.detach_from_parent()
        block.append(op)
    bindings.set_argument_attributes(new, [attrs for _, attrs, _ in places])
    function.operation.erase()


def _show_members(function: func.FuncOp, group: Group, column: int, arena: ir.Value) -> None:
    """Give what else reads a member, which may be a gradient, a view of its part."""
    sizes = [update.size for update in group.updates]
    starts = arenas.offsets(sizes, group.align)
    for update, start in zip(group.updates, starts, strict=True):
        old = function.arguments[update.columns[column].number]
        if any(user != update.loop for user in bindings.users(old)):
            old.replace_all_uses_with(_part(arena, start, old.type))


def _part(arena: ir.Value, start: int, type_: ir.RankedTensorType) -> ir.Value:
    """A view of what begins at element `start` of an arena, as a tensor of its own."""
    shape = list(type_.shape)
    flat = tensor.extract_slice(
        ir.RankedTensorType.get([prod(shape)], type_.element_type),
        arena, [], [], [], [start], [prod(shape)], [1],
    )  # fmt: skip
    if len(shape) == 1:
        return flat
    if not shape:
        return rewriting.collapse(flat, [], [])
    return rewriting.expand(flat, shape, [list(range(len(shape)))])


def _places(
    function: func.FuncOp,
    attributes: Sequence[Attributes],
    groups: Sequence[Group],
    names: dict[ArenaKey, Arena],
) -> list[_Place]:
    """The new arguments: an arena stands where its first member stood."""
    packed = {
        column.number: (g, c, update is group.updates[0])
        for g, group in enumerate(groups)
        for update in group.updates
        for c, column in enumerate(update.columns)
    }
    places = list[_Place]()
    for number, (type_, attrs) in enumerate(zip(function.type.inputs, attributes, strict=True)):
        if number not in packed:
            places.append(_Place(type_, attrs, number))
            continue
        g, c, first = packed[number]
        if not first:
            continue
        group = groups[g]
        key = group.keys[c]
        arena = names.setdefault(key, Arena(f"@arena{len(names)}", *key, group.align, group.size))
        made = arenas.attributes(arena, str(bindings.text(attrs[ROLE])))
        if RESULT in attrs:
            made[RESULT] = attrs[RESULT]
        places.append(
            _Place(
                _arena_type(group, group.updates[0].columns[c].type.element_type), made, None, g, c
            )
        )
    return places


def _result_type(groups: Sequence[Group], result: tuple[int, int]) -> ir.Type:
    group = groups[result[0]]
    return _arena_type(group, bindings.element_type(group.updates[0].loop.results[result[1]]))


def _arena_type(group: Group, element: ir.Type) -> ir.Type:
    return ir.RankedTensorType.get([group.size], element)


def _results(groups: Sequence[Group]) -> dict[ir.Value, tuple[int, int]]:
    """Result of an old loop -> (group, result of the new loop)."""
    return {
        result: (g, r)
        for g, group in enumerate(groups)
        for update in group.updates
        for r, result in enumerate(update.loop.results)
    }


def _empty_twin(
    function: func.FuncOp, inputs: Sequence[ir.Type], results: Sequence[ir.Type]
) -> func.FuncOp:
    with ir.InsertionPoint.after(function), function.location:
        new = func.FuncOp(function.name.value, ir.FunctionType.get(list(inputs), list(results)))
    for name, attribute in bindings.attributes(function.operation).items():
        if name not in ("sym_name", "function_type", "arg_attrs", "res_attrs"):
            new.operation.attributes[name] = attribute
    new.add_entry_block()
    return new


def _loop(group: Group, number: int, arguments: Mapping[tuple[int, int], ir.Value]) -> ir.Operation:
    """The update of all members at once, over their arenas."""
    old = group.updates[0].loop
    identity = ir.AffineMap.get_identity(1)
    inputs = list[rewriting.Operand]()
    for (value, map_), column in zip(rewriting.inputs(old), group.updates[0].reads, strict=True):
        if column is None:
            inputs.append((value, ir.AffineMap.get(1, 0, list(map_.results))))
        else:
            inputs.append((arguments[number, column], identity))
    types = [bindings.element_type(result) for result in old.results]
    with old.location:
        empty = {type_: rewriting.empty([group.size], type_) for type_ in dict.fromkeys(types)}
        return rewriting.build_generic(
            inputs=inputs,
            outputs=[(empty[type_], identity) for type_ in types],
            iterator_types=["parallel"],
            fill=lambda values: rewriting.inline_all(old, values[: len(inputs)]),
        )


def _renumbered(attributes: Attributes, position: Mapping[int, int]) -> Attributes:
    index = bindings.integer(attributes.get(RESULT))
    if index is None:
        return attributes
    return {**attributes, RESULT: bindings.index_attribute(position[index])}
