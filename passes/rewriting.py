"""Questions and edits that several passes share, on blocks of tensor operations."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from stepforge.passes import bindings
from stepforge.passes.bindings import arith, ir, iree_tensor_ext, linalg, tensor

#: Side-effect free operations that a pass may leave behind without users.
_PURE = ("arith.", "math.", "linalg.", "tensor.", "iree_tensor_ext.")

#: Keeps IREE from fusing what is before it with what is behind it; costs nothing at run time.
BARRIER = "iree_tensor_ext.compute_barrier.start"


def is_tensor_math(op: ir.Operation) -> bool:
    """True for `arith` and `math`: an element of the result needs that element of the operands."""
    return tensor_math(op) is not None


def tensor_math(op: ir.Operation) -> ir.Value | None:
    """The tensor that math makes; None for any other operation."""
    name = op.name
    if not name.startswith(("arith.", "math.")) or name == "arith.constant":
        return None
    results = op.results
    if len(results) != 1:
        return None
    result = results[0]
    return result if isinstance(result.type, ir.RankedTensorType) else None


def is_rank0_math(op: ir.Operation) -> bool:
    result = tensor_math(op)
    return result is not None and ir.RankedTensorType(result.type).rank == 0


def is_reduction(op: ir.Operation) -> bool:
    if op.name == "linalg.reduce":
        return True
    return op.name == "linalg.generic" and "reduction" in iterators(op)


def is_elementwise_generic(op: ir.Operation | None) -> bool:
    return op is not None and op.name == "linalg.generic" and "reduction" not in iterators(op)


def iterators(op: ir.Operation) -> list[str]:
    """The iterator types of a `linalg.generic`."""
    names = (str(attribute) for attribute in op.attributes["iterator_types"])
    return [name.partition("<")[2].rstrip(">") for name in names]


def indexing_maps(op: ir.Operation) -> list[ir.AffineMap]:
    return [attribute.value for attribute in op.attributes["indexing_maps"]]


def knows_on_host(value: ir.Value) -> bool:
    """True for a scalar, and for a tensor that repeats one scalar."""
    if not isinstance(value.type, ir.RankedTensorType):
        return True
    op = bindings.producer(value)
    if op is None:
        return False
    if op.name in ("tensor.from_elements", "tensor.splat"):
        return len(op.operands) == 1
    return op.name == "linalg.fill" or bindings.splat(op) is not None


def host_scalar(value: ir.Value) -> ir.Value:
    """That scalar; a constant is made at the current insertion point."""
    op = bindings.producer(value)
    if op is None or not isinstance(value.type, ir.RankedTensorType):
        return value
    constant = bindings.splat(op)
    if constant is None:
        return op.operands[0]
    return arith.ConstantOp(constant.type, constant, loc=op.location).result


def erase_dead(block: ir.Block) -> None:
    """Erase what nobody uses any more, users first."""
    for op in reversed(bindings.operations(block)):
        if op.name.startswith(_PURE) and bindings.is_unused(op):
            op.erase()


def sort_by_dependency(block: ir.Block) -> None:
    """Move each operation behind what it uses, and otherwise keep the order."""
    *ops, terminator = bindings.operations(block)
    made_by = {result: op for op in ops for result in op.results}
    reads = [[made_by[x] for x in values if x in made_by] for values in read_by_each(ops)]
    needed = dict(zip(ops, reads, strict=True))
    placed: set[ir.Operation] = set()

    def place(first: ir.Operation) -> None:
        stack = [first]
        while stack:
            op = stack[-1]
            waiting = [x for x in needed[op] if x not in placed] if op not in placed else []
            if waiting:
                stack.append(waiting[0])
                continue
            stack.pop()
            if op not in placed:
                op.move_before(terminator)
                placed.add(op)

    for op in ops:
        place(op)


#: Operations whose region is the same for all of them: nothing from outside is read there.
_FIXED = ("linalg.broadcast", "linalg.fill", "linalg.transpose", "linalg.contract")


def read_by(op: ir.Operation) -> list[ir.Value]:
    """What an operation reads, and what those in its regions read, be it from outside or not."""
    if op.name in _FIXED or not len(op.regions):
        return list(op.operands)
    return [value for inner in bindings.nested(op) for value in inner.operands]


def read_by_each(ops: Sequence[ir.Operation]) -> Iterator[list[ir.Value]]:
    """`read_by` of each; a body that is that of the loop before is not read again."""
    last: ir.Operation | None = None
    inside = list[ir.Value]()
    for op in ops:
        if op.name != "linalg.generic":
            yield read_by(op)
            continue
        if last is None or not bindings.same_body(op, last):
            inside = read_by(op)[len(op.operands) :]
        last = op
        yield [*op.operands, *inside]


Operand = tuple[ir.Value, ir.AffineMap]
#: Fills the body of a generic: one scalar per operand in, the yielded scalars out.
Body = Callable[[Sequence[ir.Value]], Sequence[ir.Value]]


def build_generic(
    inputs: Sequence[Operand],
    outputs: Sequence[Operand],
    iterator_types: Sequence[str],
    fill: Body,
) -> ir.Operation:
    """A `linalg.generic` at the current insertion point and location; results as `outputs`."""
    generic = _without_body(inputs, outputs, iterator_types)
    types = [bindings.element_type(value) for value, _ in (*inputs, *outputs)]
    locations = [ir.Location.current] * len(types)
    block = generic.regions[0].blocks.append(*types, arg_locs=locations)
    with ir.InsertionPoint(block):
        linalg.YieldOp(list(fill(list(block.arguments))))
    return generic.operation


def copy_generic(
    like: ir.Operation,
    inputs: Sequence[Operand],
    outputs: Sequence[Operand],
    iterator_types: Sequence[str],
) -> ir.Operation:
    """As `build_generic`, with a copy of the body of `like`, which has operands of these elements.

    The locations in the body are those of `like`.
    """
    generic = _without_body(inputs, outputs, iterator_types)
    like.clone(ip=False).regions[0].blocks[0].append_to(generic.regions[0])
    return generic.operation


def _without_body(
    inputs: Sequence[Operand], outputs: Sequence[Operand], iterator_types: Sequence[str]
) -> linalg.GenericOp:
    iterators_ = [ir.Attribute.parse(f"#linalg.iterator_type<{name}>") for name in iterator_types]
    return linalg.GenericOp(
        [value.type for value, _ in outputs],
        [value for value, _ in inputs],
        [value for value, _ in outputs],
        ir.ArrayAttr.get([ir.AffineMapAttr.get(map_) for _, map_ in (*inputs, *outputs)]),
        ir.ArrayAttr.get(iterators_),
    )


def empty(shape: Sequence[int], element_type: ir.Type) -> ir.Value:
    return tensor.EmptyOp(list(shape), element_type).result


def barrier(value: ir.Value) -> ir.Value:
    return iree_tensor_ext.ComputeBarrierStartOp(value.type, value, []).result


def inputs(generic: ir.Operation) -> list[Operand]:
    count = len(generic.operands) - len(generic.results)
    return list(zip(list(generic.operands)[:count], indexing_maps(generic)[:count], strict=True))


def inline(
    block: ir.Block, arguments: Sequence[ir.Value], leave_out: ir.Operation | None = None
) -> dict[ir.Value, ir.Value]:
    """Copy the body of a loop to the insertion point; old scalar -> new scalar."""
    values = dict(zip(block.arguments, arguments, strict=True))
    for step in bindings.operations(block)[:-1]:
        if leave_out is not None and step == leave_out:
            continue
        operands = [values.get(value, value) for value in step.operands]
        values[step.results[0]] = bindings.scalar_operation(step, operands)
    return values


def inline_all(generic: ir.Operation, arguments: Sequence[ir.Value]) -> list[ir.Value]:
    """Copy the whole body of an element-wise generic; what it yields."""
    block = generic.regions[0].blocks[0]
    unused = list(block.arguments)[len(arguments) :]
    values = inline(block, [*arguments, *unused])
    return [values.get(value, value) for value in bindings.operations(block)[-1].operands]


def collapse(value: ir.Value, sizes: Sequence[int], groups: Sequence[Sequence[int]]) -> ir.Value:
    type_ = ir.RankedTensorType.get(list(sizes), bindings.element_type(value))
    return tensor.CollapseShapeOp(type_, value, _reassociation(groups)).result


def expand(value: ir.Value, sizes: Sequence[int], groups: Sequence[Sequence[int]]) -> ir.Value:
    type_ = ir.RankedTensorType.get(list(sizes), bindings.element_type(value))
    return tensor.ExpandShapeOp(type_, value, _reassociation(groups), [], list(sizes)).result


def take(value: ir.Value, axis: int, index: int) -> ir.Value:
    """The part of a tensor at one index of an axis, without that axis."""
    shape = list(bindings.shape(value) or ())
    type_ = ir.RankedTensorType.get(
        [*shape[:axis], *shape[axis + 1 :]], bindings.element_type(value)
    )
    offsets = [index if d == axis else 0 for d in range(len(shape))]
    sizes = [1 if d == axis else size for d, size in enumerate(shape)]
    return tensor.ExtractSliceOp(type_, value, [], [], [], offsets, sizes, [1] * len(shape)).result


def _reassociation(groups: Sequence[Sequence[int]]) -> ir.ArrayAttr:
    i64 = ir.IntegerType.get_signless(64)
    return ir.ArrayAttr.get(
        [ir.ArrayAttr.get([ir.IntegerAttr.get(i64, d) for d in group]) for group in groups]
    )
