"""The twin of an in-place build that keeps all results apart, to compare it with."""

from __future__ import annotations

import re

from stepforge.passes import bindings
from stepforge.passes.bindings import ir

_OUTPUT = "iree.abi.output"
_DECLARED = re.compile(r" \{iree\.abi\.output = [^}]*\}")


def without_aliases(module: ir.Module) -> ir.Module:
    """A copy of a module after all passes, in which no result is written into an argument."""
    # The clone of a module operation belongs to no module object; text does not keep all
    # attributes (`stream.resources` prints what does not parse), but has none of those yet.
    copy = bindings.parse(str(module), module.context)
    with copy.context, ir.Location.unknown():
        for op in list(bindings.nested(copy.operation)):
            _unalias(op)
    bindings.verify(copy, after="removing the aliases")
    return copy


def _unalias(op: ir.Operation) -> None:
    if op.name == "hal.tensor.alias":
        op.results[0].replace_all_uses_with(op.operands[0])
        op.erase()
        return
    if op.name == "hal.tensor.import" and "consume" in op.attributes:
        del op.attributes["consume"]
    if "arg_attrs" in op.attributes:
        op.attributes["arg_attrs"] = ir.ArrayAttr.get(
            [
                ir.DictAttr.get({a.name: a.attr for a in row if a.name != _OUTPUT})
                for row in op.attributes["arg_attrs"]
            ]
        )
    if "iree.reflection" in op.attributes:
        op.attributes["iree.reflection"] = ir.DictAttr.get(
            {a.name: _undeclared(a.attr) for a in op.attributes["iree.reflection"]}
        )


def _undeclared(attribute: ir.Attribute) -> ir.Attribute:
    if not isinstance(attribute, ir.StringAttr):
        return attribute
    return ir.StringAttr.get(_DECLARED.sub("", attribute.value))
