"""Calling the functions of a module: fences, argument lists, and nothing allocated per step.

All exports wait for one fence and signal another (the coarse-fences ABI). A `Module` has one
timeline: a semaphore that counts calls, one fence that never blocks, and one that is moved to the
next value before each call. Lists, references and fences are made once and reused.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from stepforge.runtime import bindings as iree
from stepforge.runtime.buffers import Array, Memory, Tensor
from stepforge.runtime.devices import Device, open_device
from stepforge.runtime.errors import DeviceMismatchError, UnknownNameError
from stepforge.runtime.names import nearest

MOMENT = 1_000_000_000
"""Nanoseconds in which a call that was broken off may still end."""

Value = Array | Tensor | float | int | np.number[Any]


class Timeline:
    """The order of the calls on one module; not for two threads at once."""

    __slots__ = ("_semaphore", "refs", "signal", "value", "wait")

    def __init__(self, device: Device) -> None:
        self._semaphore = device.hal.create_semaphore(0)
        self.value = 0
        self.wait = iree.HalFence.create_at(self._semaphore, 0)
        self.signal = iree.HalFence(1)
        self.refs = (self.wait.ref, self.signal.ref)

    def advance(self) -> None:
        """Move the signal fence on; inserting a semaphore again raises its value in place."""
        # In this order: what raises here leaves a call that was not made.
        self.signal.insert(self._semaphore, self.value + 1)
        self.value += 1

    def reached(self) -> bool:
        """True when the last call has ended well; one that is still running gets a moment."""
        try:
            # The stub says None; it is False when the time is over.
            ended: Any = self._semaphore.wait(self.value, timeout=MOMENT)
        except (RuntimeError, ValueError):
            return False
        return bool(ended)


@dataclass(frozen=True, slots=True, eq=False)
class Function:
    """An exported function. It holds its module: IREE's function does not, and would dangle."""

    name: str
    handle: iree.VmFunction
    fenced: bool
    module: Module


class Module:
    """A module loaded on one device."""

    __slots__ = ("_context", "_module", "device", "memory", "timeline")

    def __init__(self, vmfb: bytes, device: Device | str = "local-sync") -> None:
        """Load verified bytes. Raises DeviceNotFoundError and DeviceMismatchError."""
        self.device = open_device(device) if isinstance(device, str) else device
        self.memory = Memory(self.device)
        self._module, self._context = load_vm(vmfb, self.device)
        self.timeline = Timeline(self.device)

    @property
    def function_names(self) -> tuple[str, ...]:
        """The exported functions, without IREE's own."""
        names = sorted(self._module.function_names)
        return tuple(n for n in names if not n.startswith("__") and "$" not in n)

    def function(self, name: str) -> Function:
        """Look a function up. Raises UnknownNameError."""
        handle = self._module.lookup_function(name)
        if handle is None:
            raise UnknownNameError(
                f"the module exports no function {name!r}{nearest(name, self.function_names)}"
            )
        fenced = iree.reflection(handle).get("iree.abi.model") == "coarse-fences"
        return Function(name, handle, fenced, self)

    def call(
        self, function: str, arguments: Sequence[Value], *, keep: bool = False
    ) -> list[Array] | list[Any]:
        """Call a function once, and wait for it.

        Arrays are copied to the device; a `Tensor` is passed as it is, and written in place where
        the function says so; Python and NumPy scalars are passed as f32 or i64. Results are arrays
        (copies), or with `keep` tensors that stay on the device; primitives are Python numbers.
        """
        found = self.function(function)
        prepared: list[Tensor | float | int] = [self._argument(a) for a in arguments]
        listed = iree.VmVariantList(len(prepared) + 2)
        for item in prepared:
            _push(listed, item)
        results = iree.VmVariantList(8)
        self.invoke(found, listed, results)
        tensors = [self._result(results, i) for i in range(len(results))]
        if keep:
            return tensors
        return [self.memory.read(t) if isinstance(t, Tensor) else t for t in tensors]

    def invoke(
        self, function: Function, arguments: iree.VmVariantList, results: iree.VmVariantList
    ) -> None:
        """Push the fences, call, and wait. Raises what IREE raises: the state is then unknown."""
        if not function.fenced:
            self._context.invoke(function.handle, arguments, results)
            return
        for ref in self.timeline.refs:
            arguments.push_ref(ref)
        self.submit(function, arguments, results)

    def submit(
        self,
        function: Function,
        arguments: iree.VmVariantList,
        results: iree.VmVariantList,
        *,
        wait: bool = True,
    ) -> None:
        """`invoke` with a list that already ends in the fences, or needs none."""
        timeline = self.timeline
        timeline.advance()
        self._context.invoke(function.handle, arguments, results)
        if wait and function.fenced:
            timeline.signal.wait()

    def upload(self, values: Array) -> Tensor:
        """A new tensor on the device with these contents."""
        tensor = self.memory.state(values.shape, values.dtype)
        self.memory.write(tensor, values)
        return tensor

    def _argument(self, value: Value) -> Tensor | float | int:
        if isinstance(value, np.ndarray):
            return self.upload(value)
        # A NumPy scalar has to become a Python number: IREE takes no other.
        item: Any = value
        return item.item() if issubclass(type(item), np.generic) else item

    def _result(self, results: iree.VmVariantList, index: int) -> Tensor | float | int:
        value: Any = results.get_variant(index)
        if isinstance(value, iree.VmRef):
            return self.memory.result(iree.view_of(value))
        return value


def _push(listed: iree.VmVariantList, item: Tensor | float | int) -> None:
    if isinstance(item, Tensor):
        listed.push_ref(item.view.ref)
    elif isinstance(item, float):
        listed.push_float(item)
    else:
        listed.push_int(int(item))


def load_vm(vmfb: bytes, device: Device) -> tuple[iree.VmModule, iree.VmContext]:
    """Where IREE first sees an artifact's bytes: everything about them is checked before."""
    instance = iree.instance()
    try:
        module = iree.VmModule.copy_buffer(instance, vmfb)
        hal = iree.create_hal_module(instance, device.hal)
        context = iree.VmContext(instance, modules=[hal, module])
    except (RuntimeError, ValueError, NotImplementedError) as error:
        text = str(error).split(";\n")[0].strip()
        raise DeviceMismatchError(
            f"device {device.spec!r} ({device.name}) cannot load the module's code: {text}"
        ) from error
    return module, context


class Call:
    """One function with its tensors bound: everything that can be made ahead is."""

    __slots__ = (
        "_after",
        "_constant",
        "_fences",
        "_function",
        "_integers",
        "_module",
        "_refs",
        "_size",
        "results",
    )

    def __init__(
        self,
        module: Module,
        function: str,
        tensors: Sequence[Tensor],
        integers: Sequence[bool],
        after: Sequence[Tensor] = (),
    ) -> None:
        """`integers` says of each primitive argument, which follow the tensors, if it is i64;
        `after` are tensors that come behind those."""
        self._module = module
        self._function = module.function(function)
        # The views' owners live in the caller's tensors; a list of references keeps views alive.
        self._refs = [tensor.view.ref for tensor in tensors]
        fences = module.timeline.refs if self._function.fenced else ()
        self._after = (*(tensor.view.ref for tensor in after), *fences)
        self._integers = tuple(integers)
        self._size = len(self._refs) + len(self._integers) + len(self._after)
        self.results = iree.VmVariantList(max(self._size, 1))
        self._constant = None if integers else self._listed(())

    def run(self, primitives: Sequence[float | int], *, wait: bool = True) -> None:
        """Call and wait. Raises what IREE raises; then the state on the device is unknown."""
        arguments = self._constant or self._listed(primitives)
        self._module.submit(self._function, arguments, self.results, wait=wait)

    def output(self, index: int) -> Array:
        """A copy of a result of the last run."""
        memory = self._module.memory
        return memory.read(memory.result(iree.view_of(self.results.get_as_ref(index))))

    def _listed(self, primitives: Sequence[Any]) -> iree.VmVariantList:
        arguments = iree.VmVariantList(self._size)
        push = arguments.push_ref
        for ref in self._refs:
            push(ref)
        for integer, value in zip(self._integers, primitives, strict=True):
            if integer:
                arguments.push_int(value)
            else:
                arguments.push_float(value)
        for ref in self._after:
            push(ref)
        return arguments
