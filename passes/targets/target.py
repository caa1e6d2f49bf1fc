"""What code is compiled for: one frozen value per target."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Backend = Literal["cpu", "vulkan", "cuda", "rocm", "metal", "vmvx"]

#: Dtypes that every target has; bool is stored as i8.
UNIVERSAL = ("f32", "i32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """One row of what `parse_target` knows. `name` is how a user writes it, aliases resolved."""

    name: str
    backend: Backend
    device: Literal["local", "vulkan", "cuda", "hip", "metal"]
    """IREE's driver."""
    hardware: str
    """What the code runs on, for people."""
    flags: tuple[str, ...]
    """For IREE, beside those of every target."""
    features: tuple[str, ...]
    """The dtypes it has beside `UNIVERSAL`, by their short names."""
    arch: str = ""
    """The instruction set of native code: x86_64, aarch64, riscv64, armv7."""
    cpu: str = ""
    """LLVM's name of the processor."""
    cpu_features: tuple[str, ...] = ()
    """The instruction set extensions that the code may use, as LLVM spells them (+avx2)."""
    vector_bytes: int | None = None
    """How wide the vectors of the processor are, as LLVM uses them; None for other devices."""
    iree_target: str | None = None
    """The GPU family or architecture that IREE generates code for."""
    subgroup_size: int | None = None
    """How many lanes of the GPU the code takes for one subgroup; None where it uses none."""
    requirements: tuple[str, ...] = ()
    """What the device must offer, for people."""
    push_words: int | None = None
    """How many 32-bit scalars one dispatch can be given; more would fail when it is loaded."""
    notes: tuple[str, ...] = ()
    """What a user who chose it should know."""

    @property
    def self_test(self) -> bool:
        """Whether a wrong device would compute wrong numbers silently, so that one must ask it."""
        return self.device != "local"

    def has(self, dtype: str) -> bool:
        return dtype in UNIVERSAL or dtype in self.features

    def description(self) -> str:
        return f"{self.name}: {self.hardware}"
