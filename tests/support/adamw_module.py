"""A logical AdamW module over any shapes, as the frontend would write it, made by hand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float32]
Shape = tuple[int, ...]

_HOST = """
    %lr0 = tensor.from_elements %lr : tensor<f32>
    %t0 = tensor.from_elements %t : tensor<i64>
    %one = arith.constant dense<1> : tensor<i64>
    %t1 = arith.addi %t0, %one : tensor<i64>
    %tf = arith.sitofp %t1 : tensor<i64> to tensor<f32>
    %log1 = arith.constant dense<-0.105360515657826301> : tensor<f32>
    %x1 = arith.mulf %tf, %log1 : tensor<f32>
    %e1 = math.expm1 %x1 : tensor<f32>
    %d1 = arith.negf %e1 : tensor<f32>
    %log2 = arith.constant dense<-0.00100050033358353350> : tensor<f32>
    %x2 = arith.mulf %tf, %log2 : tensor<f32>
    %e2 = math.expm1 %x2 : tensor<f32>
    %d2 = arith.negf %e2 : tensor<f32>
    %rate = arith.divf %lr0, %d1 : tensor<f32>
    %root = math.sqrt %d2 : tensor<f32>
    %unit = arith.constant dense<1.0> : tensor<f32>
    %scale = arith.divf %unit, %root : tensor<f32>
    %wd = arith.constant dense<0.004> : tensor<f32>
    %decay = arith.mulf %lr0, %wd : tensor<f32>
    %b1 = arith.constant dense<0.9> : tensor<f32>
    %c1 = arith.constant dense<0.1> : tensor<f32>
    %b2 = arith.constant dense<0.999> : tensor<f32>
    %c2 = arith.constant dense<0.001> : tensor<f32>
    %eps = arith.constant dense<1.0e-7> : tensor<f32>
    %new_t = tensor.extract %t1[] : tensor<i64>
"""
_SCALARS = ("rate", "scale", "decay", "b1", "c1", "b2", "c2", "eps")
_UPDATE = """
    %m_old{i} = arith.mulf %b1_{i}, %m{i} : {T}
    %m_add{i} = arith.mulf %c1_{i}, %g{i} : {T}
    %nm{i} = arith.addf %m_old{i}, %m_add{i} : {T}
    %v_old{i} = arith.mulf %b2_{i}, %v{i} : {T}
    %gg{i} = arith.mulf %g{i}, %g{i} : {T}
    %v_add{i} = arith.mulf %c2_{i}, %gg{i} : {T}
    %nv{i} = arith.addf %v_old{i}, %v_add{i} : {T}
    %num{i} = arith.mulf %rate_{i}, %nm{i} : {T}
    %sq{i} = math.sqrt %nv{i} : {T}
    %sqs{i} = arith.mulf %sq{i}, %scale_{i} : {T}
    %den{i} = arith.addf %sqs{i}, %eps_{i} : {T}
    %q{i} = arith.divf %num{i}, %den{i} : {T}
    %shrink{i} = arith.mulf %decay_{i}, %p{i} : {T}
    %delta{i} = arith.addf %q{i}, %shrink{i} : {T}
    %np{i} = arith.subf %p{i}, %delta{i} : {T}
"""


def adamw(shapes: Sequence[Shape]) -> str:
    """`@step(p..., m..., v..., g..., lr, t) -> (p..., m..., v..., t)`."""
    count = len(shapes)
    types = ["x".join([*map(str, shape), "f32"]) for shape in shapes]
    arguments, results, updates = list[str](), list[str](), list[str]()
    for block, (letter, role) in enumerate((("p", "parameter"), ("m", "slot"), ("v", "slot"))):
        for i, kind in enumerate(types):
            attributes = f'stepforge.name = "/{letter}{i}", stepforge.role = "{role}"'
            attributes += f", stepforge.result = {block * count + i} : index"
            arguments.append(f"%{letter}{i}: tensor<{kind}> {{{attributes}}}")
            results.append(f"%n{letter}{i}")
    for i, kind in enumerate(types):
        attributes = f'{{stepforge.name = "/p{i}", stepforge.role = "gradient"}}'
        arguments.append(f"%g{i}: tensor<{kind}> {attributes}")
    arguments.append(
        '%lr: f32 {stepforge.name = "/optimizers/learning_rate", stepforge.role = "hyperparameter"}'
    )
    arguments.append(
        '%t: i64 {stepforge.name = "/AdamOptimizer/step", stepforge.role = "counter", '
        f"stepforge.result = {3 * count} : index}}"
    )
    for i, shape in enumerate(shapes):
        updates += [_broadcast(name, i, shape) for name in _SCALARS]
        updates.append(_UPDATE.format(i=i, T=f"tensor<{types[i]}>"))
    returned = [f"tensor<{kind}>" for kind in types] * 3 + ["i64"]
    values = ", ".join([*results, "%new_t"])
    return f"""module attributes {{stepforge.abi = 1 : i64}} {{
  func.func @step({", ".join(arguments)}) -> ({", ".join(returned)}) {{
    {_HOST}{"".join(updates)}
    return {values} : {", ".join(returned)}
  }}
}}
"""


def _broadcast(name: str, index: int, shape: Shape) -> str:
    kind = "x".join([*map(str, shape), "f32"])
    dimensions = list(range(len(shape)))
    return f"""
    %{name}_{index}_out = tensor.empty() : tensor<{kind}>
    %{name}_{index} = linalg.broadcast ins(%{name} : tensor<f32>)
        outs(%{name}_{index}_out : tensor<{kind}>) dimensions = {dimensions}"""


def state(shapes: Sequence[Shape], seed: int = 0) -> list[Array]:
    """p..., m..., v..., g... with values of ordinary size."""
    generator = np.random.default_rng(seed)
    blocks = [[generator.standard_normal(shape, np.float32) for shape in shapes] for _ in range(4)]
    blocks[2] = [np.abs(v) for v in blocks[2]]
    return [array for block in blocks for array in block]
