"""The device commands of a function, as IREE's stream-level IR lists them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from stepforge.passes import bindings
from stepforge.passes.bindings import ir

_READ, _WRITE = 1, 2


@dataclass(frozen=True, slots=True)
class Access:
    """Bytes `start` to `stop` of `buffer`, None where they are not constant."""

    buffer: ir.Value
    start: int | None
    stop: int | None
    reads: bool
    writes: bool

    def overlaps(self, other: Access) -> bool:
        """Whether both may touch one byte; of buffers that are different values, no."""
        if self.buffer != other.buffer:
            return False
        if self.start is None or self.stop is None or other.start is None or other.stop is None:
            return True
        return self.start < other.stop and other.start < self.stop


@dataclass(frozen=True, slots=True)
class Command:
    """One dispatch, copy or fill, and the 32-bit scalars it is given."""

    kind: str
    accesses: tuple[Access, ...]
    push_words: int = 0


def waves(function: ir.Operation) -> Iterator[list[Command]]:
    """The commands in order; those that may run at the same time together."""
    for op in bindings.nested(function):
        if op.name == "stream.cmd.concurrent":
            yield [_READERS[o.name](o) for o in bindings.nested(op) if o.name in _READERS]
        elif op.name in _READERS and not _in_concurrent(op):
            yield [_READERS[op.name](op)]


def is_callers(buffer: ir.Value) -> bool:
    """Whether a buffer came in as an argument."""
    op = bindings.producer(buffer)
    return op is not None and op.name == "stream.tensor.import"


def constant(value: ir.Value) -> int | None:
    """An integer that is known when compiling, else None."""
    op = bindings.producer(value)
    if op is None or op.name != "arith.constant":
        return None
    return bindings.integer(op.attributes["value"])


def _dispatch(op: ir.Operation) -> Command:
    operands = list(op.operands)
    groups = list[list[ir.Value]]()
    for length in ir.DenseI32ArrayAttr(op.attributes["operandSegmentSizes"]):
        groups.append(operands[:length])
        operands = operands[length:]
    _workload, scalars, buffers, _sizes, offsets, lengths = groups
    modes = [ir.IntegerAttr(mode).value for mode in op.attributes["resource_accesses"]]
    accesses = tuple(
        _access(buffer, offset, length, mode)
        for buffer, offset, length, mode in zip(buffers, offsets, lengths, modes, strict=True)
    )
    return Command("dispatch", accesses, len(scalars))


def _copy(op: ir.Operation) -> Command:
    source, _, source_offset, target, _, target_offset, length = op.operands
    return Command(
        "copy",
        (
            _access(source, source_offset, length, _READ),
            _access(target, target_offset, length, _WRITE),
        ),
    )


def _fill(op: ir.Operation) -> Command:
    target, _, offset, length, _ = op.operands
    return Command("fill", (_access(target, offset, length, _WRITE),))


_READERS = {
    "stream.cmd.dispatch": _dispatch,
    "stream.cmd.copy": _copy,
    "stream.cmd.fill": _fill,
}


def _access(buffer: ir.Value, offset: ir.Value, length: ir.Value, mode: int) -> Access:
    start, size = constant(offset), constant(length)
    stop = None if start is None or size is None else start + size
    return Access(_root(buffer), start, stop, bool(mode & _READ), bool(mode & _WRITE))


def _root(value: ir.Value) -> ir.Value:
    """The buffer behind what a command region captures."""
    owner = value.owner
    if not isinstance(owner, ir.Block) or owner.owner.operation.name != "stream.cmd.execute":
        return value
    return owner.owner.operation.operands[ir.BlockArgument(value).arg_number]


def _in_concurrent(op: ir.Operation) -> bool:
    parent = op.parent
    return parent is not None and parent.name in ("stream.cmd.concurrent", "stream.cmd.serial")
