"""free-length: the update of one flat variable becomes that of an arena of any length.

An element-wise update asks for no shape. Where the module says `stepforge.free_length`, its one
variable has a length that stands for any other: the caller chooses it in every call.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import arenas, arguments, bindings, reductions, rewriting
from stepforge.passes.arenas import ALIGNED_BYTES, Arena
from stepforge.passes.arguments import FREE_LENGTH, MEMBERS, NAME, RESULT, ROLE
from stepforge.passes.bindings import Attributes, arith, func, ir, tensor
from stepforge.passes.errors import PassError, UnsupportedUpdateError
from stepforge.passes.pack_variables import MAX_BYTES
from stepforge.passes.pass_base import Pass
from stepforge.passes.targets.target import Backend

#: What an arena may have where its backend has no limit: more than fits into any memory.
_MOST_BYTES = 2**45
_STATE = ("parameter", "slot")
_HINT = "compile it for the parameters of one model, without any length"


@dataclass(frozen=True, slots=True)
class _Step:
    """A function, its arguments that are as long as the variable, and the loop over them."""

    function: func.FuncOp
    attributes: list[Attributes]
    free: tuple[int, ...]
    loop: ir.Operation

    @property
    def widths(self) -> list[int]:
        return [_width(self.function.arguments[number].type) for number in self.free]


def read(function: func.FuncOp) -> _Step:
    """Check that a function is one loop over tensors of one length. Raises UnsupportedUpdateError
    for anything else."""
    attributes = bindings.argument_attributes(function)
    free = _free_arguments(function, attributes)
    values = [function.arguments[number] for number in free]
    loops = list[ir.Operation]()
    for op in bindings.operations(bindings.body(function)):
        if rewriting.is_elementwise_generic(op):
            loops.append(op)
        elif any(isinstance(x.type, ir.RankedTensorType) for x in (*op.operands, *op.results)):
            _check_moves_nothing(op)
    if len(loops) != 1:
        raise UnsupportedUpdateError(
            f"@{function.name.value} is {len(loops)} loops, and a step of any length is one, so "
            f"that it is one dispatch; {_HINT}"
        )
    _check_loop(loops[0], values)
    _check_returned(function, loops[0], values, attributes)
    return _Step(function, attributes, free, loops[0])


def _free_arguments(function: func.FuncOp, attributes: Sequence[Attributes]) -> tuple[int, ...]:
    """The state and the gradient of the variable; all have its shape."""
    found = list[int]()
    for number, (argument, attrs) in enumerate(zip(function.arguments, attributes, strict=True)):
        role = bindings.text(attrs.get(ROLE))
        if not isinstance(argument.type, ir.RankedTensorType) or role == "scalars":
            continue
        like = function.arguments[found[0]].type if found else argument.type
        flat = argument.type.rank == 1 and list(argument.type.shape) == list(like.shape)
        if role not in (*_STATE, "gradient") or not flat:
            raise UnsupportedUpdateError(
                f"{arguments.label(attrs) or f'argument {number}'} is a {argument.type}, and a "
                "step of any length has flat parameters, slots and gradients of one length; "
                f"{_HINT}"
            )
        found.append(number)
    return tuple(found)


def _check_moves_nothing(op: ir.Operation) -> None:
    """Beside the loop there are only what it writes to, single numbers, and the end."""
    shapes = [bindings.shape(result) for result in op.results]
    if op.name in ("tensor.empty", "func.return") or all(shape == () for shape in shapes):
        if not rewriting.is_reduction(op):
            return
    what = "combines elements" if rewriting.is_reduction(op) else "moves elements"
    raise UnsupportedUpdateError(
        f"{op.name} at {bindings.where(op)} {what}, which needs a length that is known when the "
        f"step is compiled; {_HINT}"
    )


def _check_loop(loop: ir.Operation, free: Sequence[ir.Value]) -> None:
    """Every element depends on those at its own place, and not on the place."""
    identity = ir.AffineMap.get_identity(1)
    for value, map_ in rewriting.inputs(loop):
        own = value in free and map_ == identity
        if not own and not reductions.is_constant(map_):
            raise UnsupportedUpdateError(
                f"the loop at {bindings.where(loop)} reads a {value.type} that is neither state "
                f"nor a gradient, or reads it elsewhere than at its own place; {_HINT}"
            )
    for inner in bindings.operations(loop.regions[0].blocks[0]):
        if inner.name in ("linalg.index", "tensor.extract"):
            raise UnsupportedUpdateError(
                f"the loop at {bindings.where(loop)} asks where in its variable an element is, "
                f"and several variables lie in one arena of any length; {_HINT}"
            )


def _check_returned(
    function: func.FuncOp,
    loop: ir.Operation,
    free: Sequence[ir.Value],
    attributes: Sequence[Attributes],
) -> None:
    """Tensors come back as new state alone."""
    replaced = {bindings.integer(attrs.get(RESULT)) for attrs in attributes if RESULT in attrs}
    for index, value in enumerate(bindings.return_of(function).operands):
        if not isinstance(value.type, ir.RankedTensorType):
            continue
        if index not in replaced or (value not in free and bindings.producer(value) != loop):
            raise UnsupportedUpdateError(
                f"result {index} of @{function.name.value}, a {value.type}, is no new state of "
                f"the variable: a step of any length has no outputs; {_HINT}"
            )


def free(step: _Step, held: Mapping[int, Arena]) -> None:
    """Give every tensor of the variable's length a length of its own, which is the first's."""
    function, block = step.function, bindings.body(step.function)
    for number in step.free:
        function.arguments[number].set_type(_freed(function.arguments[number].type))
        attrs = step.attributes[number]
        made = arenas.attributes(held[number], str(bindings.text(attrs[ROLE])))
        kept = {key: value for key, value in attrs.items() if key not in (NAME, ROLE)}
        step.attributes[number] = {**kept, **made}
    with ir.InsertionPoint.at_block_begin(block), function.location:
        zero = arith.ConstantOp(ir.IndexType.get(), 0).result
        length = tensor.DimOp(function.arguments[step.free[0]], zero).result
    count = len(step.loop.results)
    first = len(step.loop.operands) - count
    with ir.InsertionPoint(step.loop), step.loop.location:
        for index, result in enumerate(step.loop.results):
            result.set_type(_freed(result.type))
            empty = tensor.EmptyOp([length], result.type.element_type).result
            step.loop.operands[first + index] = empty
    rewriting.erase_dead(block)
    end = bindings.return_of(function)
    types = ir.FunctionType.get(
        [x.type for x in function.arguments], [x.type for x in end.operands]
    )
    function.operation.attributes["function_type"] = ir.TypeAttr.get(types)
    bindings.set_argument_attributes(function, step.attributes)


def _freed(type_: ir.Type) -> ir.Type:
    free_ = ir.ShapedType.get_dynamic_size()
    return ir.RankedTensorType.get([free_], ir.RankedTensorType(type_).element_type)


def _width(type_: ir.Type) -> int:
    """Bytes of an element."""
    return max(8, ir.RankedTensorType(type_).element_type.width) // 8


@dataclass(frozen=True, slots=True)
class FreeLength(Pass):
    """The state and gradients of the one variable become arenas without a length, in a module that
    asks for it; any other stays as it is.

    The module has one loop per function, over them alone. An arena says how long it may be: as
    long as one binding of the backend. backend: what the module is for; None: without a limit.
    """

    name: ClassVar[str] = "free-length"
    backend: Backend | None = None

    def run(self, module: ir.Module) -> None:
        own = module.operation.attributes
        if FREE_LENGTH not in own:
            return
        steps = [read(f) for f in bindings.functions(module) if _is_step(f)]
        widths = [width for step in steps for width in step.widths]
        align = ALIGNED_BYTES // min(widths)
        most = MAX_BYTES.get(str(self.backend), _MOST_BYTES) // max(widths)
        found = dict[tuple[arenas.Kind, str], Arena]()
        for step in steps:
            held = dict[int, Arena]()
            for number in step.free:
                attrs = step.attributes[number]
                name = str(bindings.text(attrs[NAME]))
                key = arenas.kind_of(attrs), name
                arena = Arena(f"@arena{len(found)}", key[0], (name,), align, most)
                held[number] = found.setdefault(key, arena)
            free(step, held)
        del own[FREE_LENGTH]

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            for argument, attrs in zip(
                function.arguments, bindings.argument_attributes(function), strict=True
            ):
                is_free = isinstance(argument.type, ir.RankedTensorType) and (
                    not argument.type.has_static_shape
                )
                if is_free and MEMBERS not in attrs:
                    raise PassError(f"{arguments.label(attrs)} has no length, and is no arena")


def _is_step(function: func.FuncOp) -> bool:
    """Whether it replaces state, as the self-test of a GPU does not."""
    return any(RESULT in attrs for attrs in bindings.argument_attributes(function))
