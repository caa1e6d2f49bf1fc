"""The MLIR Python bindings, with their awkward parts behind plain functions.

The only module of the package that knows how the bindings spell attributes of arguments, report
errors, own operations, or signal a match. Everything else works on `ir` values and these functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from iree.compiler import ir, passmanager, rewrite
from iree.compiler.dialects import (
    arith,
    flow,
    func,
    hal,
    iree_tensor_ext,
    linalg,
    math,
    tensor,
    util,
)

from stepforge.passes.errors import MalformedModuleError

__all__ = [
    "arith",
    "flow",
    "func",
    "hal",
    "ir",
    "iree_tensor_ext",
    "linalg",
    "math",
    "tensor",
    "util",
]

Attributes = dict[str, "ir.Attribute"]


# --- modules ---------------------------------------------------------------------------------


def parse(text: str, context: ir.Context | None = None) -> ir.Module:
    """Parse MLIR text; raises `MalformedModuleError` with the diagnostics."""
    try:
        return ir.Module.parse(text, context or ir.Context())
    except ir.MLIRError as error:
        raise MalformedModuleError(f"the text is not valid MLIR:\n{diagnostics(error)}") from None


def verify(module: ir.Module, after: str) -> None:
    """Run the MLIR verifier; `after` names the stage that made the module."""
    try:
        module.operation.verify()
    except ir.MLIRError as error:
        message = f"the module is not valid MLIR after {after}:\n{diagnostics(error)}"
        raise MalformedModuleError(message) from None


def diagnostics(error: ir.MLIRError) -> str:
    lines = [f"{d.location}: {d.message}" for d in error.error_diagnostics]
    return "\n".join(lines) or str(error)


def simplify(module: ir.Module) -> None:
    """Merge equal operations and drop dead ones."""
    passmanager.PassManager.parse("builtin.module(cse)", module.context).run(module.operation)


def functions(module: ir.Module) -> list[func.FuncOp]:
    """The functions that have a body, in the order of the module."""
    found = [op for op in module.body.operations if isinstance(op, func.FuncOp)]
    return [function for function in found if not function.is_external]


def body(function: func.FuncOp) -> ir.Block:
    return function.regions[0].blocks[0]


def operations(block: ir.Block) -> list[ir.Operation]:
    """A snapshot, so that the block may change while it is walked."""
    return [op.operation for op in block.operations]


def nested(op: ir.Operation) -> Iterator[ir.Operation]:
    """`op` and every operation inside its regions."""
    yield op
    for region in op.regions:
        for block in region.blocks:
            for inner in operations(block):
                yield from nested(inner)


def executables(module: ir.Module) -> list[ir.Operation]:
    """The kernels with what belongs to them, from the phase "executable-sources" on."""
    return [x.operation for x in module.body.operations if x.operation.name == "hal.executable"]


def return_of(function: func.FuncOp) -> ir.Operation:
    return operations(body(function))[-1]


# --- values ----------------------------------------------------------------------------------


def producer(value: ir.Value) -> ir.Operation | None:
    """The operation that makes a value; None for a block argument."""
    owner = value.owner
    return None if isinstance(owner, ir.Block) else owner.operation


def users(value: ir.Value) -> list[ir.Operation]:
    """One entry per use, in the order of the uses (the bindings list the last use first)."""
    return [use.owner.operation for use in reversed(list(value.uses))]


def is_unused(op: ir.Operation) -> bool:
    return all(next(iter(result.uses), None) is None for result in op.results)


def shape(value: ir.Value) -> tuple[int, ...] | None:
    """The static shape of a tensor; None for a scalar or a tensor with a dynamic dimension."""
    type_ = value.type
    if not isinstance(type_, ir.RankedTensorType) or not type_.has_static_shape:
        return None
    return tuple(type_.shape)


def element_type(value: ir.Value) -> ir.Type:
    """The type of one element; of a scalar its own type."""
    type_ = value.type
    return type_.element_type if isinstance(type_, ir.RankedTensorType) else type_


def where(op: ir.Operation) -> str:
    """The location as a user reads it: `optimizer.py:12`, else what MLIR prints."""
    return str(op.location).removeprefix("loc(").removesuffix(")").replace('"', "")


# --- attributes ------------------------------------------------------------------------------


def attributes(op: ir.Operation) -> Attributes:
    return {name: op.attributes[name] for name in op.attributes}


def argument_attributes(function: func.FuncOp) -> list[Attributes]:
    """One mapping per argument, empty where there are none."""
    if "arg_attrs" not in function.operation.attributes:
        return [{} for _ in function.arguments]
    return [{a.name: a.attr for a in attrs} for attrs in function.arg_attrs]


def argument_attribute(function: func.FuncOp, name: str) -> list[ir.Attribute | None]:
    """One attribute of each argument, which takes a third of the time of all."""
    if "arg_attrs" not in function.operation.attributes:
        return [None for _ in function.arguments]
    return [attrs[name] if name in attrs else None for attrs in function.arg_attrs]


def set_argument_attributes(function: func.FuncOp, values: Sequence[Attributes]) -> None:
    context = function.context
    function.arg_attrs = ir.ArrayAttr.get(
        [ir.DictAttr.get(attrs, context) for attrs in values], context
    )


def index_attribute(value: int) -> ir.IntegerAttr:
    return ir.IntegerAttr.get(ir.IndexType.get(), value)


def text(attribute: ir.Attribute | None) -> str | None:
    return None if attribute is None else ir.StringAttr(attribute).value


def integer(attribute: ir.Attribute | None) -> int | None:
    return None if attribute is None else ir.IntegerAttr(attribute).value


# --- building --------------------------------------------------------------------------------


def scalar_operation(op: ir.Operation, operands: Sequence[ir.Value]) -> ir.Value:
    """The same operation on single elements, at the current insertion point."""
    twin = ir.Operation.create(
        op.name,
        results=[element_type(op.results[0])],
        operands=list(operands),
        attributes=attributes(op),
        loc=op.location,
    )
    return twin.results[0]


def same_body(a: ir.Operation, b: ir.Operation) -> bool:
    """Whether the only blocks of two operations compute the same, of the same values from outside.

    MLIR compares whole operations, with their operands. So the blocks are, for as long as it
    compares, those of two operations without any.
    """
    owners, blocks = [op.regions[0] for op in (a, b)], [op.regions[0].blocks[0] for op in (a, b)]
    bare = [ir.Operation.create("linalg.generic", regions=1, ip=False) for _ in owners]
    for block, op in zip(blocks, bare, strict=True):
        block.append_to(op.regions[0])
    same = bare[0].is_structurally_equivalent(bare[1], _BUT_FOR_LOCATIONS)
    for block, owner in zip(blocks, owners, strict=True):
        block.append_to(owner)
    return same


_BUT_FOR_LOCATIONS = ir.OperationEquivalenceFlags.IGNORE_LOCATIONS


def splat(op: ir.Operation) -> ir.Attribute | None:
    """The one element that an `arith.constant` repeats; None for anything else."""
    if op.name != "arith.constant":
        return None
    value = op.attributes["value"]
    if not isinstance(value, ir.DenseElementsAttr) or not value.is_splat:
        return None
    return value.get_splat_value()


# --- rewriting -------------------------------------------------------------------------------

Pattern = Callable[[ir.Operation], Sequence[ir.Value] | None]


def apply_greedily(module: ir.Module, patterns: Mapping[str, Pattern]) -> None:
    """Apply each pattern to the operations of its name, folding constants, until nothing changes.

    A pattern returns the values that replace the operation's results, or None where it does not
    match; new operations go right before the operation. Exceptions come out as they are.
    """
    failures: list[Exception] = []

    def adapted(pattern: Pattern) -> Callable[[ir.OpView, rewrite.PatternRewriter], bool]:
        # The bindings' protocol is inverted: True says "no match".
        def call(op: ir.OpView, rewriter: rewrite.PatternRewriter) -> bool:
            if failures:
                return True
            try:
                with rewriter.ip, op.location:
                    replacement = pattern(op.operation)
            except Exception as error:
                failures.append(error)
                return True
            if replacement is None:
                return True
            rewriter.replace_op(op, list(replacement))
            return False

        return call

    with module.context:
        table = rewrite.RewritePatternSet()
        for name, pattern in patterns.items():
            table.add(name, adapted(pattern))
        rewrite.apply_patterns_and_fold_greedily(module, table.freeze())
    if failures:
        raise failures[0]
