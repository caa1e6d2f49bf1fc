"""view-arguments: a variable that a step only sees in another shape enters in that shape.

Blocks of a long tensor are rows of a matrix. The memory is the same, so the caller's buffer can be
taken as the matrix, and the loop over it can write in place; a reshape in between would hide that
from the passes behind this one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import arguments, bindings, inner_steps, rewriting
from stepforge.passes.arguments import RESULT, ROLE, VIEW
from stepforge.passes.bindings import func, ir, linalg
from stepforge.passes.errors import PassError
from stepforge.passes.pass_base import Pass

_RESHAPES = ("tensor.collapse_shape", "tensor.expand_shape")
_ROLES = ("parameter", "slot", "gradient")


def view(function: func.FuncOp) -> None:
    """Change the types of arguments, and of the results that replace them, where that is all."""
    reshapes = [op for op in bindings.operations(bindings.body(function)) if op.name in _RESHAPES]
    if not reshapes:
        return
    for op in reshapes:
        _reshape_first(op)
    _reshape_last(function)
    attributes = bindings.argument_attributes(function)
    end = bindings.return_of(function)
    for argument, attrs in zip(function.arguments, attributes, strict=True):
        if bindings.text(attrs.get(ROLE)) not in _ROLES:
            continue
        ends = _ends(argument)
        types = list(dict.fromkeys(value.type for value in ends))
        if len(types) != 1 or types[0] == argument.type:
            continue
        index = bindings.integer(attrs.get(RESULT))
        source = None if index is None else _source(end.operands[index], types[0])
        if index is not None and source is None:
            continue
        attrs[VIEW] = ir.TypeAttr.get(argument.type)
        argument.set_type(types[0])
        for value in ends:
            value.replace_all_uses_with(argument)
        if index is not None and source is not None:
            end.operands[index] = source
    types = ir.FunctionType.get(
        [x.type for x in function.arguments], [x.type for x in end.operands]
    )
    function.operation.attributes["function_type"] = ir.TypeAttr.get(types)
    bindings.set_argument_attributes(function, attributes)
    _erase_reshapes(function)


def _reshape_first(reshape: ir.Operation) -> None:
    """What is computed element by element and then reshaped is computed of reshaped operands."""
    value, outer = reshape.operands[0], reshape.results[0]
    made_by = bindings.producer(value)
    if made_by is None or not inner_steps.is_inner(made_by):
        return
    if len(bindings.users(value)) != 1 or not _is_of_arguments(value) or _is_returned(reshape):
        return
    with ir.InsertionPoint(reshape), reshape.location:
        if inner_steps.is_scalar_broadcast(made_by):
            result, shaped = _broadcast(made_by.operands[0], outer.type), []
        else:
            shaped = [
                _like(reshape, [x], _with_element(outer.type, x.type)) for x in made_by.operands
            ]
            result = _like(made_by, [x.results[0] for x in shaped], outer.type).results[0]
    outer.replace_all_uses_with(result)
    reshape.erase()
    made_by.erase()
    for op in shaped:
        _reshape_first(op)


def _is_returned(op: ir.Operation) -> bool:
    """Whether it, reshaped and converted further, is a result: a state on its way back."""
    users = bindings.users(op.results[0])
    moved = [user for user in users if user.name in _RESHAPES or _is_conversion(user)]
    return any(user.name == "func.return" for user in users) or any(map(_is_returned, moved))


def _is_of_arguments(value: ir.Value) -> bool:
    """Whether a value is computed of arguments and single numbers alone, element by element."""
    made_by = bindings.producer(value)
    if made_by is None or made_by.name == "arith.constant":
        return True
    if made_by.name in _RESHAPES:
        return _is_of_arguments(made_by.operands[0])
    if not inner_steps.is_inner(made_by):
        return False
    return inner_steps.is_scalar_broadcast(made_by) or all(map(_is_of_arguments, made_by.operands))


def _broadcast(scalar: ir.Value, type_: ir.Type) -> ir.Value:
    """A rank-0 tensor at each element of a tensor of a type."""
    shape = list(ir.RankedTensorType(type_).shape)
    out = rewriting.empty(shape, bindings.element_type(scalar))
    return linalg.broadcast(scalar, outs=[out], dimensions=list(range(len(shape)))).results[0]


def _reshape_last(function: func.FuncOp) -> None:
    """Conversions to a result come before it is reshaped back."""
    end = bindings.return_of(function)
    for index, value in enumerate(end.operands):
        conversion = bindings.producer(value)
        if conversion is None or not _is_conversion(conversion):
            continue
        chain = list[ir.Operation]()
        made_by = bindings.producer(conversion.operands[0])
        while made_by is not None and made_by.name in _RESHAPES:
            chain.append(made_by)
            made_by = bindings.producer(made_by.operands[0])
        if not chain:
            continue
        source = chain[-1].operands[0]
        with ir.InsertionPoint(end), conversion.location:
            type_ = _with_element(source.type, value.type)
            new = _like(conversion, [source], type_).results[0]
            for reshape in reversed(chain):
                type_ = _with_element(reshape.results[0].type, value.type)
                new = _like(reshape, [new], type_).results[0]
        end.operands[index] = new
        if bindings.is_unused(conversion):
            conversion.erase()


def _is_conversion(op: ir.Operation) -> bool:
    return rewriting.is_tensor_math(op) and len(op.operands) == 1


def _like(op: ir.Operation, operands: Sequence[ir.Value], type_: ir.Type) -> ir.Operation:
    return ir.Operation.create(op.name, [type_], operands, bindings.attributes(op))


def _with_element(shaped: ir.Type, element_of: ir.Type) -> ir.Type:
    shape = list(ir.RankedTensorType(shaped).shape)
    return ir.RankedTensorType.get(shape, ir.RankedTensorType(element_of).element_type)


def _ends(argument: ir.Value) -> list[ir.Value]:
    """What reshapes of a value lead to; the value itself if anything else reads it."""
    found, waiting = list[ir.Value](), [argument]
    while waiting:
        value = waiting.pop()
        users = bindings.users(value)
        if users and all(op.name in _RESHAPES for op in users):
            waiting.extend(op.results[0] for op in users)
        else:
            found.append(value)
    return found


def _source(value: ir.Value, type_: ir.Type) -> ir.Value | None:
    """The value of a type that a value is a reshape of, if it has no other use."""
    while value.type != type_:
        made_by = bindings.producer(value)
        if made_by is None or made_by.name not in _RESHAPES or len(bindings.users(value)) != 1:
            return None
        value = made_by.operands[0]
    return value


def _erase_reshapes(function: func.FuncOp) -> None:
    for op in reversed(bindings.operations(bindings.body(function))):
        if op.name in _RESHAPES and bindings.is_unused(op):
            op.erase()


def outside(type_: ir.Type, attrs: bindings.Attributes) -> ir.Type:
    """The type that the caller sees of an argument."""
    seen = attrs.get(VIEW)
    return type_ if seen is None else ir.TypeAttr(seen).value


def outside_results(
    types: Sequence[ir.Type], attributes: Sequence[bindings.Attributes]
) -> list[ir.Type]:
    """The types that the caller sees of the results: of a state, that of its argument."""
    seen = list(types)
    for attrs in attributes:
        index = bindings.integer(attrs.get(RESULT))
        if index is not None and VIEW in attrs:
            seen[index] = outside(types[index], attrs)
    return seen


@dataclass(frozen=True, slots=True)
class ViewArguments(Pass):
    """Arguments that are only reshaped, all to one shape, get that shape; the wrapper keeps theirs.

    A state is changed where its new value is reshaped back.
    """

    name: ClassVar[str] = "view-arguments"

    def run(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            view(function)

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            if not any(bindings.argument_attribute(function, VIEW)):
                continue
            attributes = bindings.argument_attributes(function)
            for argument, attrs in zip(function.arguments, attributes, strict=True):
                index = bindings.integer(attrs.get(RESULT))
                if index is None or VIEW not in attrs:
                    continue
                if bindings.return_of(function).operands[index].type != argument.type:
                    raise PassError(f"{arguments.label(attrs)} is a view, and its new value not")
