"""view-arguments: a variable that a step only sees in another shape enters in that shape.

Blocks of a long tensor are rows of a matrix. The memory is the same, so the caller's buffer can be
taken as the matrix, and the loop over it can write in place; a reshape in between would hide that
from the passes behind this one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import arguments, bindings, clusters, inner_steps, rewriting
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
    if not _is_of_arguments(value, bindings.shape(outer)):
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
    if bindings.is_unused(made_by):  # else it is computed in both shapes
        made_by.erase()
    for op in shaped:
        _reshape_first(op)


def _is_of_arguments(value: ir.Value, other_than: tuple[int, ...] | None) -> bool:
    """Whether a value is computed of arguments and single numbers alone, element by element, and
    none of them had that other shape: what had it is on its way back to it."""
    made_by = bindings.producer(value)
    if made_by is None or made_by.name == "arith.constant":
        return True
    if made_by.name in _RESHAPES:
        before = made_by.operands[0]
        return bindings.shape(before) != other_than and _is_of_arguments(before, other_than)
    if not inner_steps.is_inner(made_by):
        return False
    if inner_steps.is_scalar_broadcast(made_by):
        return True
    return all(_is_of_arguments(x, other_than) for x in made_by.operands)


def _broadcast(scalar: ir.Value, type_: ir.Type) -> ir.Value:
    """A rank-0 tensor at each element of a tensor of a type."""
    shape = list(ir.RankedTensorType(type_).shape)
    out = rewriting.empty(shape, bindings.element_type(scalar))
    return linalg.broadcast(scalar, outs=[out], dimensions=list(range(len(shape)))).results[0]


def _reshape_last(function: func.FuncOp) -> None:
    """What is computed, element by element, of reshaped new values and of state comes before the
    reshape: conversions to a result, moving averages, what keeps the old value of a skipped step.
    """
    end = bindings.return_of(function)
    reshaped = dict[tuple[ir.Value, tuple[int, ...]], ir.Value]()
    for index in clusters.replaced(function):
        value = end.operands[index]
        if not _is_math(bindings.producer(value)):
            continue
        sources = _sources(value)
        shapes = list(dict.fromkeys(bindings.shape(x) for x in sources or ()))
        if len(shapes) != 1 or shapes[0] is None:
            continue
        with ir.InsertionPoint(end), end.location:
            new = _in_shape(value, shapes[0], reshaped)
            end.operands[index] = _reshaped(new, bindings.shape(value) or ())
    rewriting.erase_dead(bindings.body(function))


def _sources(value: ir.Value) -> list[ir.Value] | None:
    """What the reshapes are of that a value is computed of, element by element; None if it is
    computed of anything else but arguments and single numbers too."""
    found, waiting, seen = list[ir.Value](), [value], set[ir.Value]()
    while waiting:
        value = waiting.pop()
        made_by = bindings.producer(value)
        if value in seen or made_by is None or inner_steps.is_scalar_broadcast(made_by):
            continue
        seen.add(value)
        if made_by.name in _RESHAPES:
            found.append(_before_reshapes(value))
        elif _is_math(made_by):
            waiting.extend(made_by.operands)
        else:
            return None
    # A reshaped argument is seen in both shapes.
    return [x for x in found if bindings.producer(x) is not None]


def _in_shape(
    value: ir.Value,
    shape: tuple[int, ...],
    reshaped: dict[tuple[ir.Value, tuple[int, ...]], ir.Value],
) -> ir.Value:
    """The value in another shape, of operands in that shape; each is made once."""
    if (value, shape) in reshaped:
        return reshaped[value, shape]
    made_by = bindings.producer(value)
    if made_by is not None and inner_steps.is_scalar_broadcast(made_by):
        type_ = ir.RankedTensorType.get(list(shape), bindings.element_type(value))
        new = _broadcast(made_by.operands[0], type_)
    elif made_by is not None and _is_math(made_by):
        operands = [_in_shape(x, shape, reshaped) for x in made_by.operands]
        type_ = ir.RankedTensorType.get(list(shape), bindings.element_type(value))
        new = _like(made_by, operands, type_).results[0]
    else:
        new = _reshaped(_before_reshapes(value), shape)
    reshaped[value, shape] = new
    return new


def _before_reshapes(value: ir.Value) -> ir.Value:
    made_by = bindings.producer(value)
    while made_by is not None and made_by.name in _RESHAPES:
        value = made_by.operands[0]
        made_by = bindings.producer(value)
    return value


def _reshaped(value: ir.Value, shape: Sequence[int]) -> ir.Value:
    old = bindings.shape(value) or ()
    if old == tuple(shape):
        return value
    if len(old) > 1:
        value = rewriting.collapse(value, [math.prod(old)], [range(len(old))])
    if len(shape) > 1:
        value = rewriting.expand(value, shape, [range(len(shape))])
    return value


def _is_math(op: ir.Operation | None) -> bool:
    return op is not None and rewriting.is_tensor_math(op)


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
