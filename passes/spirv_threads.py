"""Vulkan kernels whose work IREE gives to no thread in particular: found, and set right.

Where the rows are a multiple of 64 and the columns odd, IREE 3.13 chooses tiles of 64 rows and one
column and workgroups of 1 x 64 x 1 threads, and then lets every thread do all 64 rows. Products add
to the same sums in memory at once; and one thread's loop gets so long that Mesa's software device,
which stops after 65,536 iterations, leaves terms out. With one row and 64 columns, and workgroups
of 64 x 1 x 1 threads, each thread gets its element.
"""

from __future__ import annotations

import math
import re

from stepforge.passes import bindings
from stepforge.passes.bindings import ir
from stepforge.passes.errors import CompileError

_THREADS = re.compile(r"workgroup_size = \[1, (?P<y>\d+), (?P<z>\d+)\]")
_TILES = re.compile(r"tile_sizes = \[\[(?P<group>[\d, ]+)\], \[(?P<thread>[\d, ]+)\]")

#: What a kernel may read that is the same for all threads of a workgroup.
_OF_ALL = frozenset({"WorkgroupId", "NumWorkgroups", "WorkgroupSize"})


def spread_columns(module: ir.Module) -> int:
    """Lay such tiles along the last axis; returns in how many kernels.

    `module` is at the phase `executable-configurations`.
    """
    found = 0
    for executable in bindings.executables(module):
        for function in (op for op in bindings.nested(executable) if op.name == "func.func"):
            found += _spread(function)
    return found


def _spread(function: ir.Operation) -> bool:
    if "translation_info" not in function.attributes:
        return False
    info = str(function.attributes["translation_info"])
    threads = _THREADS.search(info)
    count = 1 if threads is None else int(threads["y"]) * int(threads["z"])
    if threads is None or count == 1:
        return False
    configured = [op for op in bindings.nested(function) if "lowering_config" in op.attributes]
    changes = [(op, _along_last(str(op.attributes["lowering_config"]), count)) for op in configured]
    if not changes or any(text is None for _, text in changes):
        return False
    for op, text in changes:
        assert text is not None
        op.attributes["lowering_config"] = ir.Attribute.parse(text, context=op.context)
    info = info.replace(threads[0], f"workgroup_size = [{count}, 1, 1]")
    function.attributes["translation_info"] = ir.Attribute.parse(info, context=function.context)
    return True


def _along_last(config: str, count: int) -> str | None:
    """The tiles with all elements on the last axis that has one; None unless a thread has one."""
    match = _TILES.search(config)
    if match is None:
        return None
    group, thread = ([int(n) for n in match[part].split(",")] for part in ("group", "thread"))
    tiled = [axis for axis, size in enumerate(group) if size]
    if math.prod(group[axis] for axis in tiled) != count or max(thread) > 1:
        return None
    group = [int(bool(size)) for size in group]
    group[tiled[-1]] = count
    start, end = match.span("group")
    return f"{config[:start]}{', '.join(map(str, group))}{config[end:]}"


def check_divided(module: ir.Module, what: str) -> None:
    """Raises CompileError for a kernel of several threads that cannot tell them apart.

    `module` is at the phase `executable-targets`.
    """
    for executable in bindings.executables(module):
        for code in (op for op in bindings.nested(executable) if op.name == "spirv.module"):
            ops = list(bindings.nested(code))
            known = {
                ir.StringAttr(op.attributes["built_in"]).value
                for op in ops
                if "built_in" in op.attributes
            }
            modes = [str(op) for op in ops if op.name == "spirv.ExecutionMode"]
            several = [m for m in modes if '"LocalSize"' in m and '"LocalSize", 1, 1, 1' not in m]
            if several and not known - _OF_ALL:
                raise CompileError(
                    f"{what}: IREE gives the work of a kernel to no thread in particular, so that "
                    f"all of its threads do all of it at once: {several[0].strip()}; choose other "
                    "sizes, such as a multiple of 4 for the last axis"
                )
