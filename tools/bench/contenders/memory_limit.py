"""The memory limit: a compiled loop with the traffic of the step and next to no arithmetic.

It is built by the same compiler and run by the same runtime, in place: what is slower than it loses
the time elsewhere than in memory. `traffic` has the dtypes of the arrays that are read alone, and
of those that are updated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from stepforge.frontend import as_dtype
from stepforge.passes import compile_module
from stepforge.runtime.executor import Call, Module
from stepforge.tools.bench.contenders.stepforge_step import threads

Step = Callable[[], object]


def make(work: dict[str, Any], draw: Callable[..., list[Any]]) -> tuple[Step, dict[str, Any]]:
    """Options: `device`; `traffic`: {"reads": dtypes, "updates": dtypes}."""
    elements = sum(map(math.prod, work["shapes"]))
    reads, updates = work["traffic"]["reads"], work["traffic"]["updates"]
    made = compile_module(module_text(elements, reads, updates), work["target"])
    module = Module(made.vmfb, work["device"])
    (values,) = draw([(elements,)], 1)
    tensors = [module.upload(values.astype(as_dtype(name).numpy)) for name in (*updates, *reads)]
    call = Call(module, "step", tensors, ())
    facts = {"threads": threads(work["device"]), "dispatches": made.statistics["step"].dispatches}

    def step(_alive: object = tensors) -> None:  # the call refers to their memory, and no more
        call.run(())

    return step, facts


def module_text(elements: int, reads: Sequence[str], updates: Sequence[str]) -> str:
    """`@step(updated..., read...) -> (updated...)`: the sum of what is read is added to each.

    One loop, so that each array is read once.
    """
    short = [as_dtype(name).short for name in (*updates, *reads)]
    kinds = [f"tensor<{elements}x{name}>" for name in short]
    new, old = kinds[: len(updates)], kinds[len(updates) :]
    arguments = [
        f'%u{i}: {kind} {{stepforge.name = "/u{i}", stepforge.role = "parameter", '
        f"stepforge.result = {i} : index}}"
        for i, kind in enumerate(new)
    ]
    arguments += [
        f'%r{i}: {kind} {{stepforge.name = "/r{i}", stepforge.role = "gradient"}}'
        for i, kind in enumerate(old)
    ]
    inputs = [f"%u{i}" for i in range(len(new))] + [f"%r{i}" for i in range(len(old))]
    empty = [f"%e{i} = tensor.empty() : {kind}" for i, kind in enumerate(new)]
    outputs = ", ".join(f"%e{i}" for i in range(len(new)))
    scalars = [f"%{role}{i}" for role, n in (("x", new), ("y", old)) for i in range(len(n))]
    scalars += [f"%z{i}" for i in range(len(new))]
    types = [*short, *short[: len(new)]]
    block = ", ".join(f"{name}: {kind}" for name, kind in zip(scalars, types, strict=True))
    lines, total = list[str](), "%y0"
    for i in range(1, len(old)):
        lines.append(f"%sum{i} = arith.addf {total}, %y{i} : f32")
        total = f"%sum{i}"
    for i, name in enumerate(updates):
        lines += _UPDATES[name].format(i=i, total=total).splitlines()
    maps = ", ".join(["affine_map<(d0) -> (d0)>"] * len(types))
    return f"""module attributes {{stepforge.abi = 1 : i64}} {{
  func.func @step({", ".join(arguments)}) -> ({", ".join(new)}) {{
    {_JOIN.join(empty)}
    %n:{len(new)} = linalg.generic {{indexing_maps = [{maps}], iterator_types = ["parallel"]}}
        ins({", ".join(inputs)} : {", ".join(kinds)}) outs({outputs} : {", ".join(new)}) {{
    ^bb0({block}):
    {_JOIN.join(lines)}
    linalg.yield {", ".join(f"%n{i}" for i in range(len(new)))} : {", ".join(types[: len(new)])}
    }} -> ({", ".join(new)})
    return {", ".join(f"%n#{i}" for i in range(len(new)))} : {", ".join(new)}
  }}
}}
"""


_JOIN = "\n    "
_UPDATES = {
    "float32": "%n{i} = arith.addf %x{i}, {total} : f32",
    "bfloat16": """%wide{i} = arith.extf %x{i} : bf16 to f32
%added{i} = arith.addf %wide{i}, {total} : f32
%n{i} = arith.truncf %added{i} : f32 to bf16""",
    "int8": """%bits{i} = arith.bitcast {total} : f32 to i32
%low{i} = arith.trunci %bits{i} : i32 to i8
%n{i} = arith.xori %x{i}, %low{i} : i8""",
}
