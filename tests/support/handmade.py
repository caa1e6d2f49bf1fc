"""Small artifacts made without the frontend and the passes: MLIR written out, manifests by hand.

The runtime's tests stand on them, so that they say something of the runtime alone. The optimizer is
SGD or Adam with the bias corrections of the seed, compiled once per process and backend.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cache

from stepforge.runtime.container import Artifact, pack_artifact, read_artifact
from stepforge.runtime.manifest import (
    Argument,
    Function,
    Group,
    Hyperparameter,
    Initializer,
    Manifest,
    Result,
    Row,
    ScalarProgram,
    Target,
    Variable,
)
from stepforge.runtime.step import CompiledStep
from support.backends import CPU, VMVX, VULKAN, Backend, compile_text

SHAPES: Mapping[str, tuple[int, ...]] = {"/w": (8, 4), "/b": (4,)}
FLAGS = ("--iree-execution-model=async-external",)
LEARNING_RATE, GLOBAL_STEP, BETA = "/optimizers/learning_rate", "/global_step", "/optimizers/beta"
GRAPH = b'{"format":1,"nodes":[]}'
BACKENDS = {"cpu": CPU, "vmvx": VMVX, "vulkan": VULKAN}
TARGETS = {
    "cpu": Target("cpu", "llvm-cpu", "local"),
    "vmvx": Target("vmvx", "vmvx", "local"),
    "vulkan": Target("vulkan", "vulkan-spirv", "vulkan"),
}
MLIR_TYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f64"}

SELF_TEST = """
func.func @self_test(%x: tensor<4096xf32>) -> (tensor<4096xf32>, tensor<f32>) {
  %two = arith.constant dense<2.0> : tensor<4096xf32>
  %one = arith.constant dense<1.0> : tensor<4096xf32>
  %a = arith.mulf %x, %two : tensor<4096xf32>
  %b = arith.addf %a, %one : tensor<4096xf32>
  %zero = arith.constant dense<0.0> : tensor<f32>
  %s = linalg.reduce { arith.addf } ins(%b : tensor<4096xf32>) outs(%zero : tensor<f32>)
      dimensions = [0]
  return %b, %s : tensor<4096xf32>, tensor<f32>
}
"""


def tensor(shape: tuple[int, ...], element: str = "f32") -> str:
    return f"tensor<{''.join(f'{n}x' for n in shape)}{element}>"


def generic(
    shape: tuple[int, ...], element: str, inputs: list[str], outputs: int, body: str
) -> str:
    """One multi-result `linalg.generic` over `inputs`; the body yields `outputs` values."""
    dims = ", ".join(f"d{i}" for i in range(len(shape)))
    maps = ", ".join([f"affine_map<({dims}) -> ({dims})>"] * (len(inputs) + outputs))
    kinds = ", ".join(['"parallel"'] * len(shape))
    type_ = tensor(shape, element)
    ins, types = ", ".join(inputs), ", ".join([type_] * len(inputs))
    outs, out_types = ", ".join(["%e"] * outputs), ", ".join([type_] * outputs)
    arguments = [f"%x{i}: {element}" for i in range(len(inputs))]
    arguments += [f"%o{i}: {element}" for i in range(outputs)]
    return (
        f"linalg.generic {{indexing_maps = [{maps}], iterator_types = [{kinds}]}} "
        f"ins({ins} : {types}) outs({outs} : {out_types}) {{\n"
        f"^bb0({', '.join(arguments)}):\n{body}\n}} -> ({out_types})"
    )


def sgd_text(shapes: Mapping[str, tuple[int, ...]], element: str, name: str = "step") -> str:
    """p' = p - lr * g, lr an argument, for every parameter."""
    parameters = [
        f"%p{i}: {tensor(s, element)} {{iree.abi.output = {i} : index}}"
        for i, s in enumerate(shapes.values())
    ]
    gradients = [f"%g{i}: {tensor(s, element)}" for i, s in enumerate(shapes.values())]
    types = ", ".join(tensor(s, element) for s in shapes.values())
    rate = "%lr" if element == "f32" else "%rate"
    lines = ["" if element == "f32" else f"%rate = arith.truncf %lr : f32 to {element}"]
    for i, shape in enumerate(shapes.values()):
        body = (
            f"%y_u = arith.mulf %x1, {rate} : {element}\n"
            f"%y_n = arith.subf %x0, %y_u : {element}\nlinalg.yield %y_n : {element}"
        )
        loop = generic(shape, element, [f"%p{i}", f"%g{i}"], 1, body).replace("%e", f"%e{i}")
        lines += [f"%e{i} = tensor.empty() : {tensor(shape, element)}", f"%r{i} = {loop}"]
    results = ", ".join(f"%r{i}" for i in range(len(shapes)))
    head = f"func.func @{name}({', '.join([*parameters, *gradients, '%lr: f32'])}) -> ({types}) {{"
    return "\n".join([head, *lines, f"return {results} : {types}", "}"])


ADAM_SCALARS = """
  %one = arith.constant 1 : i64
  %t1 = arith.addi %t, %one : i64
  %tf = arith.sitofp %t1 : i64 to f32
  %log1 = arith.constant -0.105360515657 : f32
  %log2 = arith.constant -0.00100050033358 : f32
  %a1 = arith.mulf %tf, %log1 : f32
  %a2 = arith.mulf %tf, %log2 : f32
  %n1 = math.expm1 %a1 : f32
  %n2 = math.expm1 %a2 : f32
  %c1 = arith.negf %n1 : f32
  %c2 = arith.negf %n2 : f32
  %lt = arith.divf %lr, %c1 : f32
  %root = math.sqrt %c2 : f32
  %u1 = arith.constant 1.0 : f32
  %s = arith.divf %u1, %root : f32
  %lrt = util.optimization_barrier %lt : f32
  %st = util.optimization_barrier %s : f32
"""
ADAM_BODY = """
  %y_b1 = arith.constant 0.9 : f32
  %y_d1 = arith.constant 0.1 : f32
  %y_b2 = arith.constant 0.999 : f32
  %y_d2 = arith.constant 0.001 : f32
  %y_eps = arith.constant 1.0e-7 : f32
  %y_m0 = arith.mulf %x1, %y_b1 : f32
  %y_m1 = arith.mulf %x3, %y_d1 : f32
  %y_m2 = arith.addf %y_m0, %y_m1 : f32
  %y_v0 = arith.mulf %x2, %y_b2 : f32
  %y_gg = arith.mulf %x3, %x3 : f32
  %y_v1 = arith.mulf %y_gg, %y_d2 : f32
  %y_v2 = arith.addf %y_v0, %y_v1 : f32
  %y_q0 = math.sqrt %y_v2 : f32
  %y_q1 = arith.mulf %y_q0, %st : f32
  %y_q2 = arith.addf %y_q1, %y_eps : f32
  %y_q3 = arith.mulf %y_m2, %lrt : f32
  %y_q4 = arith.divf %y_q3, %y_q2 : f32
  %y_p2 = arith.subf %x0, %y_q4 : f32
  linalg.yield %y_p2, %y_m2, %y_v2 : f32, f32, f32
"""


def adam_text(shapes: Mapping[str, tuple[int, ...]], name: str = "step") -> str:
    """Adam in f32; arguments: parameters, 1st moments, 2nd moments, gradients, lr, t."""
    count = len(shapes)
    arguments = [
        f"%{kind}{i}: {tensor(s)} {{iree.abi.output = {block * count + i} : index}}"
        for block, kind in enumerate("pmv")
        for i, s in enumerate(shapes.values())
    ]
    arguments += [f"%g{i}: {tensor(s)}" for i, s in enumerate(shapes.values())]
    arguments += ["%lr: f32", "%t: i64"]
    lines = [ADAM_SCALARS]
    for i, shape in enumerate(shapes.values()):
        names = [f"%{kind}{i}" for kind in "pmvg"]
        loop = generic(shape, "f32", names, 3, ADAM_BODY).replace("%e,", f"%e{i},")
        loop = loop.replace("%e :", f"%e{i} :")
        lines += [f"%e{i} = tensor.empty() : {tensor(shape)}", f"%r{i}:3 = {loop}"]
    types = ", ".join([tensor(s) for s in shapes.values()] * 3)
    results = ", ".join(f"%r{i}#{k}" for k in range(3) for i in range(count))
    head = f"func.func @{name}({', '.join(arguments)}) -> ({types}) {{"
    return "\n".join([head, *lines, f"return {results} : {types}", "}"])


def nonfinite_text(shapes: Mapping[str, tuple[int, ...]]) -> str:
    """SGD that also counts the non-finite values of each gradient (one serial loop: small ones)."""
    text = sgd_text(shapes, "f32")
    counts: list[str] = []
    for i, shape in enumerate(shapes.values()):
        axes = ", ".join(str(axis) for axis in range(len(shape)))
        integers = tensor(shape, "i32")
        counts += [
            f"%bits{i} = arith.bitcast %g{i} : {tensor(shape)} to {integers}",
            f"%mask{i} = arith.constant dense<2139095040> : {integers}",
            f"%and{i} = arith.andi %bits{i}, %mask{i} : {integers}",
            f"%bad{i} = arith.cmpi eq, %and{i}, %mask{i} : {integers}",
            f"%one{i} = arith.extui %bad{i} : {tensor(shape, 'i1')} to {integers}",
            f"%zero{i} = arith.constant dense<0> : tensor<i32>",
            f"%count{i} = linalg.reduce {{ arith.addi }} ins(%one{i} : {integers}) "
            f"outs(%zero{i} : tensor<i32>) dimensions = [{axes}]",
        ]
    types = ", ".join(["tensor<i32>"] * len(shapes))
    names = ", ".join(f"%count{i}" for i in range(len(shapes)))
    head, _, rest = text.partition(") {\n")
    body, _, last = rest.rpartition("return ")
    values, _, result_types = last.partition(" : ")
    listed = "\n".join(counts)
    tail = f"return {values}, {names} : {result_types.removesuffix(chr(10) + '}')}, {types}"
    return f"{head}, {types}) {{\n{listed}\n{body}{tail}\n}}"


def compiled(text: str, backend: Backend) -> bytes:
    """The module of a text, compiled once per process with fences."""
    return _compiled(text, backend.flags + FLAGS)


@cache
def _compiled(text: str, flags: tuple[str, ...]) -> bytes:
    return compile_text(text, Backend("handmade", "", flags))


def counting(dtype: str = "float32", *counters: str) -> ScalarProgram:
    """The scalar program of a step that only counts."""
    rows: list[Row] = []
    results: list[tuple[str, int]] = []
    for counter in counters:
        start = len(rows)
        rows += [("input", counter), ("constant", 1), ("add", start, start + 1)]
        results.append((counter, start + 2))
    return ScalarProgram(dtype, tuple(rows), (), tuple(results))


HOST_VARIABLES = (
    Variable(
        LEARNING_RATE, "hyperparameter", "float32", (), "host", Initializer("constant", 0.001)
    ),
    Variable(GLOBAL_STEP, "counter", "int64", (), "host", Initializer("constant", 0)),
)
HYPERPARAMETERS = (
    Hyperparameter("learning_rate", 0.001, True, LEARNING_RATE),
    Hyperparameter("adam_epsilon", 1e-7),
    Hyperparameter("adam_weight_decay", 0.004, aliases=("weight_decay",)),
    Hyperparameter("clip_nan", False),
)


def parameters_of(
    shapes: Mapping[str, tuple[int, ...]], dtype: str = "float32"
) -> tuple[Variable, ...]:
    return tuple(Variable(name, "parameter", dtype, shape) for name, shape in shapes.items())


def slots_of(shapes: Mapping[str, tuple[int, ...]]) -> tuple[Variable, ...]:
    return tuple(
        Variable(
            f"/AdamOptimizer{name}_{slot}", "slot", "float32", shape,
            initializer=Initializer("zeros"), slot=slot, of=name,
        )
        for slot in ("1st_moment", "2nd_moment")
        for name, shape in shapes.items()
    )  # fmt: skip


def function_of(
    state: tuple[Variable, ...],
    gradients: tuple[Variable, ...],
    numbers: tuple[Argument, ...],
    *,
    name: str = "step",
    outputs: tuple[Result, ...] = (),
    scalars: ScalarProgram | None = None,
) -> Function:
    arguments = [Argument(v.name, v.role, v.dtype, v.shape, result=i) for i, v in enumerate(state)]
    arguments += [Argument(v.name, "gradient", v.dtype, v.shape) for v in gradients]
    results = [Result(v.name, "state", v.dtype, v.shape) for v in state]
    parameters = tuple(v.name for v in gradients)
    program = scalars or counting("float32", GLOBAL_STEP)
    return Function(name, (*arguments, *numbers), (*results, *outputs), program, parameters)


RATE = Argument(LEARNING_RATE, "hyperparameter", "float32")
COUNTER = Argument(GLOBAL_STEP, "counter", "int64")


def manifest_of(
    variables: tuple[Variable, ...],
    functions: tuple[Function, ...],
    *,
    formula: str = "adam",
    target: str = "cpu",
    **fields: object,
) -> Manifest:
    made = Manifest(
        "0.1.0",
        "3.13.0",
        (TARGETS[target],),
        formula,
        functions,
        variables,
        (Group(HYPERPARAMETERS),),
    )
    return dataclasses.replace(made, **fields)


def adam_manifest(shapes: Mapping[str, tuple[int, ...]], target: str = "cpu") -> Manifest:
    parameters = parameters_of(shapes)
    state = (*parameters, *slots_of(shapes))
    function = function_of(state, parameters, (RATE, COUNTER))
    return manifest_of((*state, *HOST_VARIABLES), (function,), target=target)


def adam(shapes: Mapping[str, tuple[int, ...]] = SHAPES, target: str = "cpu") -> Artifact:
    """An Adam artifact for a backend of BACKENDS."""
    vmfb = compiled(adam_text(shapes), BACKENDS[target])
    return read_artifact(pack_artifact(vmfb, adam_manifest(shapes, target), GRAPH))


def sgd(
    shapes: Mapping[str, tuple[int, ...]] = SHAPES,
    target: str = "cpu",
    dtype: str = "float32",
    **fields: object,
) -> Artifact:
    """An SGD artifact in another dtype, or with other manifest fields."""
    vmfb = compiled(sgd_text(shapes, MLIR_TYPES[dtype]), BACKENDS[target])
    parameters = parameters_of(shapes, dtype)
    function = function_of(parameters, parameters, (RATE,))
    manifest = manifest_of(
        (*parameters, *HOST_VARIABLES), (function,), formula="sgd", target=target, **fields
    )
    return read_artifact(pack_artifact(vmfb, manifest, GRAPH))


def counting_nonfinite(target: str = "cpu") -> Artifact:
    """SGD compiled with `nanlogger`."""
    vmfb = compiled(nonfinite_text(SHAPES), BACKENDS[target])
    parameters = parameters_of(SHAPES)
    outputs = tuple(Result(f"nonfinite{v.name}", "output", "int32") for v in parameters)
    function = function_of(parameters, parameters, (RATE,), outputs=outputs)
    manifest = manifest_of(
        (*parameters, *HOST_VARIABLES), (function,), formula="sgd", target=target, nan_tracing=True
    )
    return read_artifact(pack_artifact(vmfb, manifest, GRAPH))


def snapshot(step: CompiledStep) -> dict[str, bytes]:
    """The bits of the whole state."""
    return {path: value.tobytes() for path, value in step.variables.items()}
