"""wrap-entry-points: the calling convention, spelled out around each public function.

IREE's own wrapper for coarse fences (3.13) drops every result that is not a tensor, and with it
the new counters; so the module brings its own, which IREE leaves alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import arguments, bindings
from stepforge.passes.arguments import ABI, OUTPUT, PREFIX, RESULT
from stepforge.passes.bindings import Attributes, func, hal, ir, util
from stepforge.passes.errors import PassError
from stepforge.passes.pass_base import Pass
from stepforge.passes.view_arguments import outside, outside_results


def wrap(function: func.FuncOp, abi: int | None, *, ping_pong: bool = False) -> None:
    """Make `function` private, and a public one of its name that takes buffer views and fences.

    ping_pong: it also takes a buffer view for each state result, in which it puts that result.
    """
    name = function.name.value
    function.operation.attributes["sym_name"] = ir.StringAttr.get(f"__{name}")
    function.operation.attributes["sym_visibility"] = ir.StringAttr.get("private")

    view, fence = ir.Type.parse("!hal.buffer_view"), ir.Type.parse("!hal.fence")
    inputs = [view if _is_tensor(t) else t for t in function.type.inputs]
    results = [view if _is_tensor(t) else t for t in function.type.results]
    attributes = bindings.argument_attributes(function)
    after = _state_results(function, attributes) if ping_pong else []
    signature = ir.FunctionType.get([*inputs, *[view] * len(after), fence, fence], results)
    with ir.InsertionPoint.after(function), function.location:
        wrapper = util.FuncOp(name, ir.TypeAttr.get(signature), sym_visibility="public")
    wrapper.operation.attributes["iree.abi.stub"] = ir.UnitAttr.get()
    wrapper.operation.attributes["iree.reflection"] = _reflection(function, attributes, after, abi)
    block = wrapper.regions[0].blocks.append(*signature.inputs)
    with ir.InsertionPoint(block), function.location:
        _fill(block, function, attributes, after)
    bindings.set_argument_attributes(function, [{} for _ in attributes])


def _state_results(function: func.FuncOp, attributes: list[Attributes]) -> list[int]:
    """The results that replace a tensor of the state, in their order."""
    found = [
        bindings.integer(attrs.get(RESULT))
        for type_, attrs in zip(function.type.inputs, attributes, strict=True)
        if _is_tensor(type_)
    ]
    return sorted(index for index in found if index is not None)


def _fill(
    block: ir.Block, function: func.FuncOp, attributes: list[Attributes], after: list[int]
) -> None:
    *views, wait, signal = block.arguments
    inputs, targets = views[: len(attributes)], views[len(attributes) :]
    length = _free_length(inputs, function)
    operands = list[ir.Value]()
    for argument, type_, attrs in zip(inputs, function.type.inputs, attributes, strict=True):
        if not _is_tensor(type_):
            operands.append(argument)
            continue
        # An argument that is written in place gives up its old value ("consume").
        consume = True if OUTPUT in attrs else None
        operands.append(
            hal.TensorImportOp(
                type_,
                argument,
                outside(type_, attrs),
                _sizes(type_, length),
                consume=consume,
                wait_fence=wait,
                name=arguments.label(attrs) or None,
            ).result
        )
    results = list(func.CallOp(function, operands).results)
    places = dict(zip(after, targets, strict=True))
    for argument, attrs in zip(inputs, attributes, strict=True):
        index = bindings.integer(attrs.get(OUTPUT))
        if index is not None:
            places[index] = argument
    for index, place in places.items():
        sizes = _sizes(results[index].type, length)
        results[index] = hal.TensorAliasOp(results[index], sizes, place, wait_fence=wait).result
    seen = outside_results([value.type for value in results], attributes)
    util.ReturnOp(_exported(results, seen, signal, length))


def _free_length(views: Sequence[ir.Value], function: func.FuncOp) -> ir.Value | None:
    """How long the first tensor without a length is; importing the others compares theirs."""
    for view, type_ in zip(views, function.type.inputs, strict=True):
        if _is_tensor(type_) and not type_.has_static_shape:
            return hal.BufferViewDimOp(view, 0).result
    return None


def _sizes(type_: ir.Type, length: ir.Value | None) -> list[ir.Value]:
    """The sizes that a type leaves open."""
    return [] if length is None or type_.has_static_shape else [length]


def _exported(
    results: list[ir.Value], seen: list[ir.Type], signal: ir.Value, length: ir.Value | None
) -> list[ir.Value]:
    """Results as the caller sees them; `signal` is signalled when all tensors are there."""
    tensors = [value for value in results if _is_tensor(value.type)]
    if not tensors:
        hal.FenceSignalOp(signal)
        return results
    barrier = hal.TensorBarrierOp([value.type for value in tensors], tensors, signal)
    ready = iter(barrier.results)
    view = ir.Type.parse("!hal.buffer_view")
    exported = list[ir.Value]()
    for index, value in enumerate(results):
        if not _is_tensor(value.type):
            exported.append(value)
            continue
        sizes = _sizes(value.type, length)
        export = hal.TensorExportOp(view, next(ready), seen[index], sizes, name=f"result {index}")
        exported.append(export.result)
    return exported


def _is_tensor(type_: ir.Type) -> bool:
    return isinstance(type_, ir.RankedTensorType)


def _reflection(
    function: func.FuncOp, attributes: list[Attributes], after: list[int], abi: int | None
) -> ir.DictAttr:
    name = function.name.value.removeprefix("__")
    inputs = list[str]()
    seen = [outside(t, attrs) for t, attrs in zip(function.type.inputs, attributes, strict=True)]
    results = outside_results(list(function.type.results), attributes)
    for index, (type_, attrs) in enumerate(zip(seen, attributes, strict=True)):
        output = f" {{{OUTPUT} = {attrs[OUTPUT]}}}" if OUTPUT in attrs else ""
        inputs.append(f"%input{index}: {type_}{output}")
    for index in after:
        inputs.append(f"%input{len(inputs)}: {results[index]} {{{OUTPUT} = {index} : index}}")
    outputs = [f"%output{index}: {type_}" for index, type_ in enumerate(results)]
    declaration = f"async func @{name}({', '.join(inputs)}) -> ({', '.join(outputs)})"
    entries = {"iree.abi.declaration": declaration, "iree.abi.model": "coarse-fences"}
    if abi is not None:
        entries["stepforge.abi"] = str(abi)
    return ir.DictAttr.get({key: ir.StringAttr.get(value) for key, value in entries.items()})


@dataclass(frozen=True, slots=True)
class WrapEntryPoints(Pass):
    """Each public function gets a wrapper over buffer views and fences; own attributes go."""

    name: ClassVar[str] = "wrap-entry-points"

    ping_pong: bool = False
    """Take buffers for the new state, and leave those of the old as they are."""

    def run(self, module: ir.Module) -> None:
        own = module.operation.attributes
        abi = bindings.integer(own[ABI]) if ABI in own else None
        for function in bindings.functions(module):
            if _is_public(function):
                wrap(function, abi, ping_pong=self.ping_pong)
        for key in [key for key in own if key.startswith(PREFIX)]:
            del own[key]

    def check(self, module: ir.Module) -> None:
        for function in bindings.functions(module):
            if _is_public(function):
                raise PassError(f"@{function.name.value} is still exported without a wrapper")


def _is_public(function: func.FuncOp) -> bool:
    attributes = function.operation.attributes
    if "sym_visibility" not in attributes:
        return True
    return bindings.text(attributes["sym_visibility"]) == "public"
