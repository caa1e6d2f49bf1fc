"""What the kernels of a module keep in memory, against what its target can be trusted with."""

from __future__ import annotations

import re

from stepforge.passes import bindings
from stepforge.passes.bindings import ir
from stepforge.passes.errors import UnsupportedDTypeError
from stepforge.passes.targets import Target

_ELEMENT = re.compile(r"[<x](?P<element>bf16|f16|i1|i8|i16)>")


def check_storage(module: ir.Module, target: Target) -> None:
    """Raise `UnsupportedDTypeError` if a kernel touches elements that `target` lacks.

    Of a module at the phase `stream`: also a mask between two kernels, which is no argument of a
    function and is stored as bytes, would be computed wrong without a word.
    """
    if target.device != "vulkan" or target.has("f16"):
        return
    found = {
        match["element"]
        for op in bindings.nested(module.operation)
        if op.name == "stream.binding.subspan"
        for match in _ELEMENT.finditer(str(op.results[0].type))
    }
    if found:
        raise UnsupportedDTypeError(
            f"target {target.name} keeps 32-bit elements only, and IREE would compute garbage from "
            f"narrower ones: a kernel reads or writes {', '.join(sorted(found))}; cast what goes "
            "from one kernel to the next to float32 or int32, or name a GPU family "
            "(--target vulkan:adreno)"
        )
