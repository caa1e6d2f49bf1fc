"""The only module of the frontend that touches IREE's MLIR bindings, and a typed layer over them.

Every op is built in its generic form (name, operands, result type, attributes as MLIR text, at
most one region), because the generic form is the same for all dialects and never infers anything
behind the caller's back; `Module.finish` verifies the whole module.
"""
# The bindings ship no stubs; nothing unknown leaves this module.
# pyright: reportMissingTypeStubs=false

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from iree.compiler import ir as untyped_ir

from stepforge.frontend.emit.errors import EmitError

ir: Any = untyped_ir


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """An SSA value: a tensor of a static shape, or (shape None) a single element."""

    handle: Any
    element: str
    """MLIR's spelling: "f32", "i1", "index"."""
    shape: tuple[int, ...] | None

    @property
    def type(self) -> str:
        return type_text(self.element, self.shape)


Body = Callable[..., Value]
Attributes = Mapping[str, str]


def type_text(element: str, shape: tuple[int, ...] | None) -> str:
    if shape is None:
        return element
    return f"tensor<{''.join(f'{size}x' for size in shape)}{element}>"


@dataclass(frozen=True, slots=True)
class FunctionArgument:
    """The type of one function argument, and its attributes (int: an index; str: a string)."""

    element: str
    shape: tuple[int, ...] | None
    attributes: Mapping[str, str | int]


class Builder:
    """Appends operations to one block."""

    def __init__(self, block: Any) -> None:
        self._point = ir.InsertionPoint(block)
        self._location = ir.Location.current
        self._line: str | None = None
        self._types: dict[tuple[str, tuple[int, ...] | None], Any] = {}
        self._attributes: dict[str, Any] = {}

    def op(
        self,
        name: str,
        operands: Sequence[Value],
        *,
        like: Value | None = None,
        element: str | None = None,
        shape: tuple[int, ...] | None = None,
        attributes: Attributes | None = None,
        body: Body | None = None,
        body_operands: Sequence[Value] | None = None,
        terminator: str = "linalg.yield",
    ) -> Value:
        """Appends an op of one result, of the type of `like` (by default the first operand).

        element, shape: where the result's type differs from that. attributes: MLIR text by name.
        body: the single block of the op's region; it gets one element per operand (or only of
        `body_operands`), and its value is yielded with `terminator`.
        """
        if element is None or shape is None:
            like = operands[0] if like is None else like
            element = like.element if element is None else element
            shape = like.shape if shape is None else shape
        result = self._create(name, operands, (element, shape), attributes or {}, body is not None)
        if body is not None:
            given = operands if body_operands is None else body_operands
            _fill(result.handle.owner.regions[0], [x.element for x in given], body, terminator)
        return result

    def scalar(
        self,
        name: str,
        operands: Sequence[Value],
        element: str,
        attributes: Attributes | None = None,
    ) -> Value:
        """Appends an op whose result is a single element, not a tensor."""
        return self._create(name, operands, (element, None), attributes or {}, False)

    def at(self, location: str) -> None:
        """What follows carries the location `file.py:12`."""
        if location != self._line:
            self._line, self._location = location, _location(location)

    def terminator(self, name: str, operands: Sequence[Value]) -> None:
        ir.Operation.create(name, operands=[x.handle for x in operands], ip=self._point)

    def _create(
        self,
        name: str,
        operands: Sequence[Value],
        result: tuple[str, tuple[int, ...] | None],
        attributes: Attributes,
        has_body: bool,
    ) -> Value:
        type_ = self._types.get(result)
        if type_ is None:
            type_ = self._types[result] = ir.Type.parse(type_text(*result))
        operation = ir.Operation.create(
            name,
            results=[type_],
            operands=[x.handle for x in operands],
            attributes={k: self._attribute(text) for k, text in attributes.items()},
            regions=int(has_body),
            loc=self._location,
            ip=self._point,
        )
        return Value(operation.results[0], *result)

    def _attribute(self, text: str) -> Any:
        found = self._attributes.get(text)
        if found is None:
            found = self._attributes[text] = ir.Attribute.parse(text)
        return found


def _fill(region: Any, elements: Sequence[str], body: Body, terminator: str) -> None:
    unknown = ir.Location.unknown()
    block = region.blocks.append(*map(ir.Type.parse, elements), arg_locs=[unknown] * len(elements))
    inner = Builder(block)
    arguments = [Value(x, e, None) for x, e in zip(block.arguments, elements, strict=True)]
    inner.terminator(terminator, [body(inner, *arguments)])


class Module:
    """A module under construction; use it in a `with` statement, `finish` gives the text."""

    def __init__(self, attributes: Attributes) -> None:
        self._context = ir.Context()
        with self._context, ir.Location.unknown():
            self._module = ir.Module.create()
            for name, text in attributes.items():
                self._module.operation.attributes[name] = ir.Attribute.parse(text)

    def function(
        self,
        name: str,
        arguments: Sequence[FunctionArgument],
        body: Callable[[Builder, Sequence[Value]], Sequence[Value]],
    ) -> None:
        """Appends a public function; `body` builds it and gives its results."""
        with self._context, ir.Location.unknown():
            texts = [type_text(x.element, x.shape) for x in arguments]
            parsed = {text: ir.Type.parse(text) for text in dict.fromkeys(texts)}
            types = [parsed[text] for text in texts]
            block_types = {"inputs": types, "results": []}
            operation = ir.Operation.create(
                "func.func",
                attributes={
                    "sym_name": ir.StringAttr.get(name),
                    "function_type": ir.TypeAttr.get(ir.FunctionType.get(**block_types)),
                    "arg_attrs": ir.ArrayAttr.get([_dictionary(x.attributes) for x in arguments]),
                },
                regions=1,
                ip=ir.InsertionPoint(self._module.body),
            )
            block = operation.regions[0].blocks.append(
                *types, arg_locs=[ir.Location.unknown()] * len(types)
            )
            given = [
                Value(x, argument.element, argument.shape)
                for x, argument in zip(block.arguments, arguments, strict=True)
            ]
            builder = Builder(block)
            results = body(builder, given)
            builder.terminator("func.return", results)
            full = ir.FunctionType.get(types, [x.handle.type for x in results])
            operation.attributes["function_type"] = ir.TypeAttr.get(full)

    def finish(self, *, locations: bool) -> str:
        """The module as text; raises EmitError when it does not verify."""
        try:
            self._module.operation.verify()
        except ir.MLIRError as error:
            raise EmitError("the emitted module must verify", got=str(error)) from error
        return self._module.operation.get_asm(enable_debug_info=locations)


def _location(text: str) -> Any:
    file, _, line = text.rpartition(":")
    return ir.Location.file(file, int(line), 0) if line.isdigit() else ir.Location.unknown()


def _dictionary(attributes: Mapping[str, str | int]) -> Any:
    index = ir.IndexType.get()
    return ir.DictAttr.get(
        {
            name: ir.StringAttr.get(x) if isinstance(x, str) else ir.IntegerAttr.get(index, x)
            for name, x in attributes.items()
        }
    )
