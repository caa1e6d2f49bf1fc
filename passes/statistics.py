"""What one call of each exported function costs, read from IREE's stream-level IR.

The counts are IREE's own (`--iree-scheduling-dump-statistics-format`), but per function; a test
compares the sums.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from stepforge.passes import bindings, commands
from stepforge.passes.bindings import ir

#: Calls by which a module asks for memory; a step in place imports none of them.
ALLOCATING_IMPORTS = (b"hal.device.queue.alloca", b"hal.allocator.allocate")
_ALLOCATIONS = ("stream.resource.alloca", "stream.resource.alloc")


@dataclass(frozen=True, slots=True, kw_only=True)
class FunctionStatistics:
    """The cost of one call."""

    dispatches: int = 0
    copies: int = 0
    fills: int = 0
    submissions: int = 0
    waits: int = 0
    """How often the host waits for the device."""
    allocations: int = 0
    transient_bytes: int | None = 0
    """Bytes allocated per call, results included; None where they depend on run-time sizes."""
    push_words: int = 0
    """32-bit scalars given to one dispatch, at most."""
    buffers: int = 0
    """Buffers bound to one dispatch, at most."""
    late_reads: int = 0
    """Commands that read a buffer of the caller after, or while, another one writes it. In a step
    that updates in place they may see new state for old."""

    @property
    def allocates(self) -> bool:
        return self.allocations > 0


@dataclass(frozen=True, slots=True)
class Statistics:
    """Per exported function; `initializer` runs once, when the module is loaded."""

    functions: Mapping[str, FunctionStatistics]
    initializer: FunctionStatistics
    imports_allocation: bool | None = None
    """Whether the compiled module can allocate device memory at all; None before it is bytecode."""

    def __getitem__(self, function: str) -> FunctionStatistics:
        return self.functions[function]


def collect(module: ir.Module) -> Statistics:
    """Read a module at the phase `stream`."""
    counted = dict[str, FunctionStatistics]()
    callees = dict[str, list[str]]()
    exported = list[str]()
    initializer = FunctionStatistics()
    for op in (item.operation for item in module.body.operations):
        if op.name == "util.initializer":
            initializer = _sum(initializer, _body(op))
        if op.name != "util.func":
            continue
        name = bindings.text(op.attributes["sym_name"]) or ""
        counted[name] = _body(op)
        callees[name] = list(_callees(op))
        if "iree.abi.stub" in op.attributes:
            exported.append(name)
    functions = {name: _with_callees(name, counted, callees) for name in exported}
    return Statistics(functions, initializer)


def with_bytecode(counted: Statistics, vmfb: bytes) -> Statistics:
    """Add what the bytecode says: the names of the calls it imports stand in it as text."""
    return replace(counted, imports_allocation=any(name in vmfb for name in ALLOCATING_IMPORTS))


def _body(function: ir.Operation) -> FunctionStatistics:
    names = [op.name for op in bindings.nested(function)]
    found = [command for wave in commands.waves(function) for command in wave]
    dispatches = [command for command in found if command.kind == "dispatch"]
    sizes = [
        commands.constant(op.operands[0])
        for op in bindings.nested(function)
        if op.name in _ALLOCATIONS
    ]
    return FunctionStatistics(
        dispatches=len(dispatches),
        copies=names.count("stream.cmd.copy"),
        fills=names.count("stream.cmd.fill"),
        submissions=names.count("stream.cmd.execute"),
        waits=names.count("stream.timepoint.await"),
        allocations=len(sizes),
        transient_bytes=_total(sizes),
        push_words=max((command.push_words for command in dispatches), default=0),
        buffers=max((len(command.accesses) for command in dispatches), default=0),
        late_reads=late_reads(function),
    )


def late_reads(function: ir.Operation) -> int:
    """Count the commands that read bytes of the caller that an earlier one, or one at the same
    time, writes."""
    late = 0
    commands_seen = 0
    writers = dict[ir.Value, list[tuple[int, commands.Access]]]()
    for wave in commands.waves(function):
        numbered = list(enumerate(wave, start=commands_seen))
        commands_seen += len(wave)
        for number, command in numbered:
            for access in command.accesses:
                if access.writes and commands.is_callers(access.buffer):
                    writers.setdefault(access.buffer, []).append((number, access))
        late += sum(_reads_late(number, command, writers) for number, command in numbered)
    return late


def _reads_late(
    number: int,
    command: commands.Command,
    writers: Mapping[ir.Value, list[tuple[int, commands.Access]]],
) -> bool:
    return any(
        writer != number and access.overlaps(written)
        for access in command.accesses
        if access.reads
        for writer, written in writers.get(access.buffer, ())
    )


def _callees(function: ir.Operation) -> Iterator[str]:
    for op in bindings.nested(function):
        if op.name == "util.call":
            yield ir.FlatSymbolRefAttr(op.attributes["callee"]).value


def _with_callees(
    name: str, counted: Mapping[str, FunctionStatistics], callees: Mapping[str, list[str]]
) -> FunctionStatistics:
    total = counted[name]
    for callee in callees[name]:
        if callee in counted:
            total = _sum(total, _with_callees(callee, counted, callees))
    return total


def _sum(a: FunctionStatistics, b: FunctionStatistics) -> FunctionStatistics:
    return FunctionStatistics(
        dispatches=a.dispatches + b.dispatches,
        copies=a.copies + b.copies,
        fills=a.fills + b.fills,
        submissions=a.submissions + b.submissions,
        waits=a.waits + b.waits,
        allocations=a.allocations + b.allocations,
        transient_bytes=_total([a.transient_bytes, b.transient_bytes]),
        push_words=max(a.push_words, b.push_words),
        buffers=max(a.buffers, b.buffers),
        late_reads=a.late_reads + b.late_reads,
    )


def _total(sizes: list[int | None]) -> int | None:
    return None if None in sizes else sum(size or 0 for size in sizes)
