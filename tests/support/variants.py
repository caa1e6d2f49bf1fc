"""More artifacts made by hand: other manifests, a scalar table, two entry points."""

from __future__ import annotations

import dataclasses
from typing import Any

from stepforge.runtime.container import Artifact, pack_artifact, read_artifact
from stepforge.runtime.manifest import Argument, Function, Row, ScalarProgram, Variable
from support import handmade


def with_manifest(artifact: Artifact, **fields: Any) -> Artifact:
    """The same module, which runs on the CPU, with other manifest fields."""
    manifest = dataclasses.replace(artifact.manifest, **fields)
    shapes = {v.name: v.shape for v in manifest.variables if v.role == "parameter"}
    adam = manifest.formula == "adam"
    text = handmade.adam_text(shapes) if adam else handmade.sgd_text(shapes, "f32")
    vmfb = handmade.compiled(text, handmade.CPU)
    return read_artifact(pack_artifact(vmfb, manifest, handmade.GRAPH))


def self_testing(text: str, target: str = "cpu") -> Artifact:
    """SGD over `/w` (4,) with a self-test of one's own, in the manner of `handmade.SELF_TEST`."""
    shapes = {"/w": (4,)}
    parameters = handmade.parameters_of(shapes)
    function = handmade.function_of(parameters, parameters, (handmade.RATE,))
    made = handmade.manifest_of(
        (*parameters, *handmade.HOST_VARIABLES), (function,), formula="sgd", target=target
    )
    tested = dataclasses.replace(made.targets[0], self_test=True)
    made = dataclasses.replace(made, targets=(tested,))
    vmfb = handmade.compiled(handmade.sgd_text(shapes, "f32") + text, handmade.BACKENDS[target])
    return read_artifact(pack_artifact(vmfb, made, handmade.GRAPH))


def table_artifact(target: str) -> Artifact:
    """SGD whose rate comes in a table of one float32, with beta-like derivations beside it."""
    shapes = {"/w": (6,)}
    text = """
func.func @step(%p: tensor<6xf32> {iree.abi.output = 0 : index}, %g: tensor<6xf32>,
                %s: tensor<3xf32>) -> tensor<6xf32> {
  %e = tensor.empty() : tensor<6xf32>
  %r = linalg.generic {indexing_maps = [affine_map<(d0) -> (d0)>, affine_map<(d0) -> (d0)>,
      affine_map<(d0) -> (1)>, affine_map<(d0) -> (d0)>], iterator_types = ["parallel"]}
      ins(%p, %g, %s : tensor<6xf32>, tensor<6xf32>, tensor<3xf32>) outs(%e : tensor<6xf32>) {
  ^bb0(%a: f32, %b: f32, %rate: f32, %o: f32):
    %u = arith.mulf %b, %rate : f32
    %n = arith.subf %a, %u : f32
    linalg.yield %n : f32
  } -> tensor<6xf32>
  return %r : tensor<6xf32>
}"""
    rows: tuple[Row, ...] = (
        ("input", handmade.LEARNING_RATE),
        ("input", handmade.GLOBAL_STEP),
        ("constant", 1),
        ("add", 1, 2),
        ("cast", 3, "float64"),
        ("mul", 0, 4),
    )
    program = ScalarProgram("float32", rows, (0, 5, 4), ((handmade.GLOBAL_STEP, 3),))
    parameters = handmade.parameters_of(shapes)
    function = handmade.function_of(
        parameters, parameters, (Argument("scalars", "scalars", "float32", (3,)),), scalars=program
    )
    manifest = handmade.manifest_of(
        (*parameters, *handmade.HOST_VARIABLES), (function,), formula="sgd", target=target
    )
    vmfb = handmade.compiled(text, handmade.BACKENDS[target])
    return read_artifact(pack_artifact(vmfb, manifest, handmade.GRAPH))


def two_entry_points() -> Artifact:
    """SGD on `/w` and on `/b`, each with its own function, in one module."""
    shapes = [{"/w": (8, 4)}, {"/b": (4,)}]
    text = "\n".join(
        handmade.sgd_text(shape, "f32", name)
        for shape, name in zip(shapes, ("slow", "fast"), strict=True)
    )
    functions: list[Function] = []
    variables: list[Variable] = []
    for shape, name in zip(shapes, ("slow", "fast"), strict=True):
        parameters = handmade.parameters_of(shape)
        variables += parameters
        functions.append(handmade.function_of(parameters, parameters, (handmade.RATE,), name=name))
    manifest = handmade.manifest_of(
        (*variables, *handmade.HOST_VARIABLES), tuple(functions), formula="two"
    )
    vmfb = handmade.compiled(text, handmade.CPU)
    return read_artifact(pack_artifact(vmfb, manifest, handmade.GRAPH))
