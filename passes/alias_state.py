"""alias-state: new state replaces old state in the caller's buffers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from graphlib import CycleError, TopologicalSorter
from typing import ClassVar

from stepforge.passes import arguments, bindings, copies, rewriting
from stepforge.passes.arguments import OUTPUT, RESULT
from stepforge.passes.bindings import func, ir
from stepforge.passes.errors import PassError, UnsupportedUpdateError
from stepforge.passes.pass_base import Pass
from stepforge.passes.rewriting import BARRIER

#: Operations whose result may be the memory of their operand.
_VIEWS = (
    BARRIER,
    "tensor.bitcast",
    "tensor.cast",
    "tensor.collapse_shape",
    "tensor.expand_shape",
    "tensor.extract_slice",
    "tensor.reshape",
)


@dataclass(frozen=True, slots=True)
class State:
    """A state argument and its new value."""

    label: str
    number: int
    argument: ir.Value
    result: int
    value: ir.Value


def states(function: func.FuncOp) -> list[State]:
    """The tensors among the arguments that a result replaces, in argument order."""
    found = list[State]()
    returned = list(bindings.return_of(function).operands)
    attributes = bindings.argument_attributes(function)
    for number, (argument, attrs) in enumerate(zip(function.arguments, attributes, strict=True)):
        index = bindings.integer(attrs.get(RESULT))
        if index is None or not isinstance(argument.type, ir.RankedTensorType):
            continue
        label = arguments.label(attrs) or f"argument {number}"
        if not 0 <= index < len(returned):
            raise PassError(
                f"{label} is replaced by result {index}, but @{function.name.value} has "
                f"{len(returned)} results"
            )
        found.append(State(label, number, argument, index, returned[index]))
    return found


def check_states(found: Sequence[State]) -> None:
    """Refuse what no copy can mend: one result for two arguments, or of another type."""
    first = dict[int, State]()
    for state in found:
        other = first.setdefault(state.result, state)
        if other is not state:
            raise UnsupportedUpdateError(
                f"result {state.result} is the new value of {other.label} and of {state.label}: "
                "return it twice"
            )
        if state.value.type != state.argument.type:
            raise UnsupportedUpdateError(
                f"the new value of {state.label} is a {state.value.type}, the variable is a "
                f"{state.argument.type}: cast or reshape it"
            )


def check_outs(function: func.FuncOp) -> None:
    """Refuse a named operation that starts from an argument: IREE writes its result there."""
    for op in bindings.operations(bindings.body(function)):
        if not op.name.startswith("linalg.") or op.name == "linalg.generic":
            continue
        starts = list(op.operands)[len(op.operands) - len(op.results) :]
        if any(bindings.producer(_source(value)) is None for value in starts):
            raise UnsupportedUpdateError(
                f"{op.name} at {bindings.where(op)} has an argument of the function as `outs`, and "
                "IREE overwrites it. Start from a linalg.fill, and add the argument after"
            )


def refusal(state: State) -> str | None:
    """Why the new value cannot be computed over the old one; None if it can."""
    if state.value == state.argument:
        return None
    update = bindings.producer(state.value)
    if update is None or not rewriting.is_elementwise_generic(update):
        made_by = "another argument" if update is None else update.name
        return f"its new value is made by {made_by}, not element by element"
    readers = [op for result in update.results for op in bindings.users(result)]
    other = [op for op in readers if op.name != "func.return"]
    if other:
        return f"the loop that makes its new value is read by {other[0].name} too"
    if len(bindings.users(state.value)) > 1:
        return "its new value is returned twice"
    return _refuse_maps(state, update)


def _refuse_maps(state: State, update: ir.Operation) -> str | None:
    inputs = rewriting.inputs(update)
    position = list(update.results).index(state.value)
    if not _is_identity(rewriting.indexing_maps(update)[len(inputs) + position]):
        return "its new value is written to other elements than it is computed for"
    for value, map_ in inputs:
        in_place = value == state.argument and _is_identity(map_)
        if _source(value) == state.argument and not in_place:
            return "its new value at one element needs its old value at another"
    if any(_source(value) == state.argument for value in _captured(update)):
        return "its new value at one element needs its old value at another"
    return None


def _is_identity(map_: ir.AffineMap) -> bool:
    return map_ == ir.AffineMap.get_identity(map_.n_dims)


def _captured(update: ir.Operation) -> list[ir.Value]:
    body = update.regions[0].blocks[0]
    return [value for op in bindings.operations(body) for value in op.operands]


def _source(value: ir.Value) -> ir.Value:
    """The value whose memory a value may share."""
    made_by = bindings.producer(value)
    while made_by is not None and made_by.name in _VIEWS:
        value = made_by.operands[0]
        made_by = bindings.producer(value)
    return value


def updates_in_order(accepted: Sequence[State]) -> list[ir.Operation]:
    """The loops that write state, each before the loops that write what it reads.

    IREE writes in place without looking for later readers of the old value.
    """
    loops = dict[ir.Value, ir.Operation]()  # by first result
    writer = dict[ir.Value, ir.Value]()  # state argument -> first result of its loop
    labels = dict[ir.Value, str]()
    for state in accepted:
        update = bindings.producer(state.value)
        if update is not None and state.value != state.argument:
            key = update.results[0]
            loops[key] = update
            writer[state.argument] = key
            labels.setdefault(key, state.label)
    # Values compare and hash by identity of the IR object; the sorter keeps insertion order.
    sorter = TopologicalSorter[ir.Value]({key: () for key in loops})
    for key, loop in loops.items():
        for value in (*(value for value, _ in rewriting.inputs(loop)), *_captured(loop)):
            written_by = writer.get(_source(value), key)
            if written_by != key:
                sorter.add(written_by, key)
    try:
        return [loops[key] for key in sorter.static_order()]
    except CycleError as error:
        names = ", ".join(dict.fromkeys(labels[key] for key in error.args[1]))
        raise UnsupportedUpdateError(
            f"{names} read each other's old values, and no order of their updates keeps them. "
            "Give them one shape, so that one loop updates them together"
        ) from None


def place(update: ir.Operation, terminator: ir.Operation) -> None:
    """Move an update to the end, behind barriers on everything it does not own.

    A loop that is fused with what makes its gradient would write state while others still read it.
    """
    update.move_before(terminator)
    for index, (value, _) in enumerate(rewriting.inputs(update)):
        made_by = bindings.producer(value)
        if made_by is None or made_by.name in (BARRIER, "arith.constant"):
            continue
        with ir.InsertionPoint(update):
            update.operands[index] = rewriting.barrier(value)


def copied(state: State, end: ir.Operation) -> State:
    """Let the new value be made elsewhere, and a loop of its own copy it over the old one."""
    with ir.InsertionPoint(end), end.location:
        is_argument = bindings.producer(state.value) is None
        value = state.value if is_argument else rewriting.barrier(state.value)
        result = copies.emit([value]).results[0]
    end.operands[state.result] = result
    return replace(state, value=result)


def hide_move(state: State) -> None:
    """Compute, in some way, a new value that a loop yields as it read it from elsewhere.

    IREE would drop the loop and use what was read, without asking who replaces it, or what it was
    made of.
    """
    loop = bindings.producer(state.value)
    if loop is None:
        return
    block = loop.regions[0].blocks[0]
    position = list(loop.results).index(state.value)
    yielded = bindings.operations(block)[-1].operands[position]
    sources = dict(zip(block.arguments, loop.operands, strict=True))
    if yielded in sources and sources[yielded] != state.argument:
        copies.hide(loop, position)


def keep_old(settled: Sequence[State], end: ir.Operation) -> None:
    """Give outputs that are, or are seen through, the old value of a state memory of their own."""
    replaced = {state.argument: state for state in settled if state.value != state.argument}
    states = {state.result for state in settled}
    for index, value in enumerate(end.operands):
        if index not in states and _source(value) in replaced:
            with ir.InsertionPoint(end), end.location:
                end.operands[index] = copies.emit([value]).results[0]


def copy_numbers(found: Sequence[State], block: ir.Block) -> None:
    """Let all loops read a copy of a single number that changes, where a loop reads it that waits
    for tensors of other loops.

    IREE runs the small loop that writes it as soon as it can, and was seen to do so before such
    loops. That loop reads the copy too, so that it waits for it.
    """
    numbers = [s.argument for s in found if s.value != s.argument and _read_late(s.argument)]
    if not numbers:
        return
    with ir.InsertionPoint.at_block_begin(block), block.owner.location:
        loop = copies.emit(numbers)
        kept = [rewriting.barrier(result) for result in loop.results]
    for number, copy in zip(numbers, kept, strict=True):
        number.replace_all_uses_except(copy, loop)


def _read_late(argument: ir.Value) -> bool:
    if bindings.shape(argument) != ():
        return False
    return any(_waits(op) for op in _readers(argument))


def _waits(loop: ir.Operation) -> bool:
    """Whether a loop reads a tensor, of more than one element, that another loop makes."""
    for value in loop.operands:
        made_by = bindings.producer(_source(value))
        is_made = made_by is not None and made_by.name.startswith("linalg.")
        if is_made and bindings.shape(value) != ():
            return True
    return False


def _readers(value: ir.Value) -> list[ir.Operation]:
    """What reads a value, through views too, but for the end."""
    found = list[ir.Operation]()
    for op in bindings.users(value):
        if op.name in _VIEWS:
            found.extend(_readers(op.results[0]))
        elif op.name != "func.return":
            found.append(op)
    return found


def alias(function: func.FuncOp, step: AliasState) -> None:
    found, end = states(function), bindings.return_of(function)
    check_states(found)
    check_outs(function)
    copy_numbers(found, bindings.body(function))
    reasons = {state.number: refusal(state) for state in found}
    refused = [state for state in found if reasons[state.number] is not None]
    if refused and not step.allow_copies:
        lines = [f"{state.label}: {reasons[state.number]}" for state in refused]
        raise UnsupportedUpdateError(
            "a new value that is computed over the old one may depend on no other element of it. "
            f"{'; '.join(lines)}. allow_copies=True computes it elsewhere and copies it"
        )
    settled = [copied(s, end) if reasons[s.number] is not None else s for s in found]
    keep_old(settled, end)
    for state in settled:
        hide_move(state)
    for update in updates_in_order(settled):
        place(update, end)
    if not step.in_place:
        return
    attributes = bindings.argument_attributes(function)
    for state in settled:
        attributes[state.number][OUTPUT] = bindings.index_attribute(state.result)
    bindings.set_argument_attributes(function, attributes)


@dataclass(frozen=True, slots=True)
class AliasState(Pass):
    """Updates go last, fenced, and each writes its results over the arguments they replace."""

    name: ClassVar[str] = "alias-state"

    in_place: bool = True
    """False makes the same module without the attributes, to compare with."""

    allow_copies: bool = False
    """Compute a value elsewhere, and copy it over the old one, where it cannot be made in place."""

    def run(self, module: ir.Module) -> None:
        bindings.apply_greedily(module, {})  # what is x * 1.0 must show as x
        for function in bindings.functions(module):
            alias(function, self)
        bindings.apply_greedily(module, {})

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            _check(function)


def _check(function: func.FuncOp) -> None:
    """Behind the first update that writes state there are only such updates."""
    attributes = bindings.argument_attributes(function)
    returned = list(bindings.return_of(function).operands)
    indices = [bindings.integer(attrs.get(OUTPUT)) for attrs in attributes]
    written = {returned[index]: None for index in indices if index is not None}
    began = False
    for op in bindings.operations(bindings.body(function))[:-1]:
        writes = any(result in written for result in op.results)
        if began and not writes and op.name != BARRIER:
            raise PassError(f"{op.name} at {bindings.where(op)} comes after an update in place")
        began = began or writes
