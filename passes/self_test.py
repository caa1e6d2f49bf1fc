"""self-test: a function whose right answer the runtime knows, for devices that may lie.

Code for another GPU family than the device's gives wrong numbers without a message, element-wise
and, more often, in sums. So the module can be asked: `@self_test(x)` returns `y = 2 * x + 1` and
the sum of `y`, which are exact for small integers in any order of summation.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from stepforge.passes import bindings
from stepforge.passes.bindings import ir
from stepforge.passes.errors import PassError
from stepforge.passes.pass_base import Pass

NAME = "self_test"
SIZE = 4096

_SOURCE = f"""
func.func @{NAME}(%x: tensor<{SIZE}xf32> {{stepforge.name = "x", stepforge.role = "input"}})
    -> (tensor<{SIZE}xf32>, tensor<f32>) {{
  %two = arith.constant dense<2.0> : tensor<{SIZE}xf32>
  %one = arith.constant dense<1.0> : tensor<{SIZE}xf32>
  %twice = arith.mulf %two, %x : tensor<{SIZE}xf32>
  %y = arith.addf %twice, %one : tensor<{SIZE}xf32>
  %zero = arith.constant 0.0 : f32
  %empty = tensor.empty() : tensor<f32>
  %start = linalg.fill ins(%zero : f32) outs(%empty : tensor<f32>) -> tensor<f32>
  %sum = linalg.reduce {{ arith.addf }} ins(%y : tensor<{SIZE}xf32>) outs(%start : tensor<f32>)
         dimensions = [0]
  return %y, %sum : tensor<{SIZE}xf32>, tensor<f32>
}}
"""


@dataclass(frozen=True, slots=True)
class SelfTest(Pass):
    """Adds `@self_test` to a logical module, which the other passes then treat like the rest."""

    name: ClassVar[str] = "self-test"

    def run(self, module: ir.Module) -> None:
        if NAME in _symbols(module):
            raise PassError(f"the module has a function @{NAME}, which is a reserved name")
        source = bindings.parse(_SOURCE, module.context)  # its functions do not keep it alive
        (function,) = bindings.functions(source)
        function.operation.clone(ip=ir.InsertionPoint(module.body))

    def check(self, module: ir.Module) -> None:
        if NAME not in _symbols(module):
            raise PassError(f"@{NAME} is missing")


def _symbols(module: ir.Module) -> list[str]:
    return [function.name.value for function in bindings.functions(module)]
