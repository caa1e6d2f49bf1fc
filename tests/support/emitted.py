"""Programs of single graphs, emitted, compiled and called with arrays by input name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stepforge.frontend import ops
from stepforge.frontend.dtypes import DType, convert, float32, int32
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.program import Argument, EntryPoint, Program, Result
from stepforge.frontend.scalars import ScalarProgram
from support.backends import Backend, Executable, compile_text
from support.op_case import OpCase

Array = NDArray[Any]
NO_SCALARS = ScalarProgram("float32", (), (), ())
WHOLE_WORDS: Mapping[str, DType] = {
    "i1": int32,
    "i8": int32,
    "bf16": float32,
    "f16": float32,
}


def program(*entries: EntryPoint) -> Program:
    return Program(entries, (), (), (), "", False)


def function(name: str, outputs: Sequence[Node], *, host: Sequence[Node] = ()) -> EntryPoint:
    """An entry point of all inputs of the outputs' graph; those in `host` are host scalars."""
    graph = outputs[0].graph
    inputs = [*(x for x in graph.inputs.values() if x not in host), *host]
    arguments = [
        Argument(x.attributes["name"], "input", x, "host" if x in host else "device")
        for x in inputs
    ]
    results = [Result(f"y{i}", "output", x) for i, x in enumerate(outputs)]
    return EntryPoint(name, graph, tuple(arguments), tuple(results), "arguments", NO_SCALARS)


@dataclass(frozen=True, slots=True)
class Row:
    """One op case in one dtype, as a function for one backend."""

    case: OpCase
    dtype: DType
    node: Node
    """The node under test."""
    entry: EntryPoint

    @staticmethod
    def make(name: str, case: OpCase, dtype: DType, backend: Backend) -> Row:
        """Where narrow buffers lose their ends, narrow inputs and results travel widened."""
        graph = Graph(case.name)
        operands: list[Node] = []
        for i, domain in enumerate(case.domains):
            own = domain.dtype or dtype
            outside = _outside(own, backend)
            operands.append(ops.cast(graph.input(f"x{i}", outside, domain.shape), own))
        node = case.build(*operands)
        result = ops.cast(node, _outside(node.dtype, backend))
        return Row(case, dtype, node, function(name, [result]))

    @property
    def dtypes(self) -> frozenset[str]:
        """Short names of the dtypes of its nodes."""
        return frozenset(x.dtype.short for x in self.entry.graph.nodes)

    def run(self, executable: Executable, inputs: Mapping[str, Array]) -> Array:
        """The node's value on the device, in the node's own dtype."""
        given = [convert(np.asarray(inputs[x.name]), x.node.dtype) for x in self.entry.arguments]
        outside = self.entry.results[0].node.dtype
        (got,) = executable(self.entry.name, given, [outside])
        return convert(got, self.node.dtype)


def _outside(dtype: DType, backend: Backend) -> DType:
    return WHOLE_WORDS.get(dtype.short, dtype) if backend.whole_words else dtype


def compile_entries(entries: Sequence[EntryPoint], backend: Backend) -> Executable:
    from stepforge.frontend.emit import emit  # noqa: PLC0415 (needs the compiler)

    return Executable(compile_text(emit(program(*entries)), backend), backend)


def compile_expanded(entries: Sequence[EntryPoint], backend: Backend) -> Executable:
    """With the math that users get: their modules go through `expand-math`."""
    from stepforge.frontend.emit import emit  # noqa: PLC0415 (needs the compiler)
    from support.lowered import with_expanded_math  # noqa: PLC0415 (too)

    text = with_expanded_math(emit(program(*entries)), backend.column or backend.name)
    return Executable(compile_text(text, backend), backend)
