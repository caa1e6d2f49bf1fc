"""What has to be set right, or read, in the code that IREE generated, before it is serialised."""

from __future__ import annotations

import re

from stepforge.passes import bindings
from stepforge.passes.bindings import ir

#: Every Vulkan device has them.
_ALWAYS = frozenset({"Matrix", "Shader"})
_CAPABILITIES = re.compile(r"\[(?P<capabilities>[^\]]*)\]")

#: libdevice's square root is approximate (sqrt.approx.f32) unless a flag that is global to the
#: process says otherwise; LLVM's own is exact (sqrt.rn.f32).
_ROOTS = {"__nv_sqrtf": "llvm.intr.sqrt", "__nv_sqrt": "llvm.intr.sqrt"}


def use_exact_roots(module: ir.Module) -> int:
    """Replace CUDA's square roots by correctly rounded ones; returns how many.

    `module` is at the phase `executable-targets`.
    """
    calls = [op for op in _in_executables(module) if _callee(op) in _ROOTS]
    for call in calls:
        with ir.InsertionPoint(call), call.location:
            root = ir.Operation.create(
                _ROOTS[_callee(call) or ""],
                results=[call.results[0].type],
                operands=[call.operands[0]],
            )
        call.results[0].replace_all_uses_with(root.results[0])
        call.erase()
    return len(calls)


def spirv_capabilities(module: ir.Module) -> tuple[str, ...]:
    """What SPIR-V code asks of a device beyond the least, at the phase `executable-targets`."""
    found = set[str]()
    for op in _in_executables(module):
        if op.name != "spirv.module" or "vce_triple" not in op.attributes:
            continue
        match = _CAPABILITIES.search(str(op.attributes["vce_triple"]))
        if match is not None:
            found.update(filter(None, match["capabilities"].replace(" ", "").split(",")))
    return tuple(sorted(found - _ALWAYS))


def _in_executables(module: ir.Module) -> list[ir.Operation]:
    return [op for executable in bindings.executables(module) for op in bindings.nested(executable)]


def _callee(op: ir.Operation) -> str | None:
    if op.name != "llvm.call" or "callee" not in op.attributes:
        return None
    return ir.FlatSymbolRefAttr(op.attributes["callee"]).value
