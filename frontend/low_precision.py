"""State in fewer bits: how it is rounded, and what is kept beside it.

Arithmetic is the optimizer's; only what is stored between two steps is narrower, and no rule knows.

Stochastic rounding draws 16 bits for each number x that is stored, from what the step has at hand,
without a generator's state and without the number's place (so that a loop over one variable and a
loop over many give the same):

    h = bits(x) ^ (step mod 2^24) * 0x9E3779B1
    h = (h ^ (h >> 16)) * 0x7FEB352D
    h = h ^ bits(g)
    h = (h ^ (h >> 15)) * 0x846CA68B          (all of 32 bits, unsigned, modulo 2^32)
    x is rounded away from zero where (h >> 16) + (bits(x) mod 2^16) >= 2^16

with g the element's gradient as the rule sees it, and `bits` those of float32. The products and
shifts are Wellons' "lowbias32" mixer. For a given x and g the draw depends on the step alone, and
over the steps each of its 2^16 values comes up as often as any other to within chance, so that the
stored number's expectation is x. Draws of different elements differ because their x or g do; what
has the same x and g in the same step is rounded the same way, so the errors of equal elements do
not cancel (an untouched table of zeros stays one, whatever is drawn). After 2^24 steps the draws of
a given x and g repeat.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from stepforge.frontend import ops
from stepforge.frontend.blocks import Range, block_length, decode, encode, unit
from stepforge.frontend.context import Context
from stepforge.frontend.dtypes import DType, as_dtype, bfloat16, float32, int8, int32
from stepforge.frontend.errors import OptimizerError
from stepforge.frontend.graph import Graph, Node
from stepforge.frontend.hyperparameters import (
    PARAM_MASTER_WEIGHTS,
    PARAM_SLOT_DTYPE,
    PARAM_STOCHASTIC_ROUNDING,
    Plain,
)
from stepforge.frontend.ops import OPS
from stepforge.frontend.resolve import parameter
from stepforge.frontend.variables import Variable

MASTER = "master"
"""The kind of the slot that holds a 16-bit parameter in the compute dtype."""

OFF: dict[str, Plain] = {
    PARAM_SLOT_DTYPE: "",
    PARAM_STOCHASTIC_ROUNDING: False,
    PARAM_MASTER_WEIGHTS: False,
}
"""The hyperparameters of this module, with the values that mean off."""

_SINGLE = frozenset({"input", "constant", "broadcast"})
_STEPS = 2**24  # whole float32 numbers, as which the host may have to pass the step
_GOLDEN, _FIRST, _SECOND = 0x9E3779B1, 0x7FEB352D, 0x846CA68B


@dataclass(frozen=True, slots=True)
class LowPrecision:
    """What is stored of one variable, and how it is rounded."""

    slot_dtype: DType
    shape: tuple[int, ...]
    """In which the update is computed: the variable's, or with slots in blocks [k, B]."""
    stochastic: bool
    keeps_master: bool
    step: Node
    gradient: Node

    @classmethod
    def of(
        cls, here: Context, compute: DType, variable: Variable, step: Node, gradient: Node
    ) -> LowPrecision:
        """As the Context around a variable says. gradient: of the variable's shape."""
        name, stochastic, master = (parameter(here, x, off).value for x, off in OFF.items())
        dtype, shape, count = (
            as_dtype(str(name or compute.name)),
            variable.shape,
            math.prod(variable.shape),
        )
        if dtype == int8:
            length = block_length(count) if compute == float32 else None
            dtype, shape = (dtype, (count // length, length)) if length else (compute, shape)
        return cls(
            slot_dtype=dtype,
            shape=shape,
            stochastic=bool(stochastic),
            keeps_master=bool(master) and variable.dtype.is_half,
            step=step,
            gradient=ops.reshape(gradient, shape),
        )

    @property
    def in_blocks(self) -> bool:
        return self.slot_dtype == int8

    def rounded(self, x: Node, dtype: DType) -> Node:
        """x as it is stored: to nearest, or up or down by chance where that is asked for."""
        if not self.stochastic or dtype != bfloat16:
            return ops.cast(x, dtype)
        x = ops.cast(x, float32)
        return ops.stochastic_round(x, rounding_bits(x, self.gradient, self.step))

    def draw(self, x: Node) -> Node | None:
        """Numbers in [0, 1) to round codes by, where chance is asked for."""
        return unit(rounding_bits(x, self.gradient, self.step)) if self.stochastic else None


@dataclass(frozen=True, slots=True)
class StoredSlot:
    """One slot of one variable, as it is kept between steps."""

    variable: Variable
    largest: Variable | None
    """Of 8-bit codes: the largest magnitude of each block."""
    range_: Range

    def value(self, graph: Graph, dtype: DType) -> Node:
        """Before the step, in the dtype of the arithmetic."""
        node = self.variable.value_graph(graph)
        if self.largest is None:
            return ops.cast(node, dtype)
        return decode(node, self.largest.value_graph(graph), self.range_)

    def keep(self, new: Node, low: LowPrecision) -> None:
        """Makes `new` the value after the step."""
        if self.largest is None:
            self.variable.set_value_graph(low.rounded(new, self.variable.dtype))
            return
        codes, largest = encode(new, self.range_, low.draw(new))
        self.variable.set_value_graph(codes)
        self.largest.set_value_graph(largest)


def check_elementwise(results: Iterable[Node], given: Collection[Node], who: str) -> None:
    """Raises OptimizerError for a rule that looks along an axis: blocks are other axes.

    Single elements, and reductions of all elements, are the same in every shape.
    """
    waiting, seen = list(results), set(given)
    while waiting:
        node = waiting.pop()
        if node in seen:
            continue
        seen.add(node)
        of_all = node.op.startswith("reduce_") and not node.rank
        if not (OPS[node.op].elementwise or of_all or node.op in _SINGLE):
            raise OptimizerError(
                f"{who} looks along axes, and its slots cannot be kept in 8 bits",
                expected="ops of single elements, and reductions of all",
                got=repr(node),
                hint=f'leave {PARAM_SLOT_DTYPE}="int8" out',
            )
        waiting.extend(node.inputs)


def rounding_bits(x: Node, gradient: Node, step: Node) -> Node:
    """32 bits for each element of x, of which the upper 16 are a draw: see the module.

    x: float32. gradient: a float of its shape. step: a whole number, rank 0. Result: int32.
    """
    h = ops.bit_xor(ops.float_bits(x), _steps(x, step) * _signed(_GOLDEN))
    h = ops.bit_xor(h, ops.shift_right_logical(h, 16)) * _signed(_FIRST)
    h = ops.bit_xor(h, ops.float_bits(ops.cast(gradient, float32)))
    return ops.bit_xor(h, ops.shift_right_logical(h, 15)) * _signed(_SECOND)


def _steps(x: Node, step: Node) -> Node:
    """The step modulo 2^24, as int32 in the shape of x."""
    if step.dtype == int32:
        return ops.bit_and(step, _STEPS - 1)
    # A host scalar reaches the device as a float, which holds it exactly.
    number = ops.cast(ops.rem(step, _STEPS), float32)
    return ops.cast(ops.broadcast_to(number, x.shape), int32)


def _signed(word: int) -> int:
    return word - 2**32 if word >= 2**31 else word


def master_or(parameter: Node, master: Node) -> Node:
    """The master copy where it rounds to the parameter, else the parameter; in the master's dtype.

    So a parameter that was set from elsewhere, and the first value of any, goes before a master
    that knows nothing of it.
    """
    same = ops.equal(ops.cast(master, parameter.dtype), parameter)
    return ops.where(same, master, ops.cast(parameter, master.dtype))
