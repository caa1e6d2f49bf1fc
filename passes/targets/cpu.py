"""Native code for processors: this host, and instruction sets by name."""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from stepforge.passes import bindings
from stepforge.passes.errors import CompileError, UnknownTargetError
from stepforge.passes.session import Lowering, open_session
from stepforge.passes.targets import cpu_names, names
from stepforge.passes.targets.target import Target

#: What IREE's local devices pass to a dispatch.
PUSH_WORDS = 64
_DTYPES = ("bf16", "f16", "f64", "i8", "i16", "i64")


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One instruction set. `cpu` and `features` make the portable baseline."""

    hardware: str
    triple: str
    machines: tuple[str, ...]
    """What the operating systems call it."""
    cpu: str
    features: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    """Extensions without which the code does not link."""
    cpus: tuple[str, ...] = ()
    """The processors that may be named; their extensions are LLVM's."""
    extensions: tuple[str, ...]
    """Those that the code generator may use of its own accord, which the runtime must check, and
    which may be asked for. Others (encryption, transactions) need code that asks for them."""
    never: tuple[str, ...] = ()
    """Those that nothing could check at load time."""
    flags: tuple[str, ...] = ()


ARCHITECTURES: Mapping[str, Architecture] = {
    # v3 has AVX2 and FMA: Intel since 2013, AMD since 2015. Adam over 65,536 elements takes 28 us
    # with it and 34 us with the first x86-64 (cpu:x86_64:x86-64); AVX-512 gains nothing more.
    "x86_64": Architecture(
        hardware="64-bit Intel and AMD processors",
        triple="x86_64-unknown-linux-gnu",
        machines=("x86_64", "amd64"),
        cpu="x86-64-v3",
        cpus=cpu_names.X86_64,
        extensions=tuple(
            """
            sse3 ssse3 sse4.1 sse4.2 sse4a popcnt lzcnt movbe bmi bmi2 tbm f16c fma fma4 xop gfni
            avx avx2 avxvnni avxvnniint8 avxvnniint16 avxifma avxneconvert
            avx512f avx512cd avx512bw avx512dq avx512vl avx512ifma avx512vbmi avx512vbmi2
            avx512vnni avx512bitalg avx512vpopcntdq avx512bf16 avx512fp16 avx512vp2intersect
            """.split()
        ),
        never=("avx10.2", *"egpr ndd ccmp cf nf ppx push2pop2 zu jmpabs".split()),
    ),
    "aarch64": Architecture(
        hardware="64-bit Arm processors",
        triple="aarch64-unknown-linux-gnu",
        machines=("aarch64", "arm64"),
        cpu="generic",
        cpus=cpu_names.AARCH64,
        extensions=tuple(
            """
            lse rdm rcpc dotprod fullfp16 fp16fml complxnum fptoint altnzcv flagm bf16 i8mm f32mm
            f64mm sha3 cssc mops hbc sve sve2 sve2p1 sme sme2
            """.split()
        ),
    ),
    "riscv64": Architecture(
        hardware="64-bit RISC-V processors (RV64GC)",
        triple="riscv64-unknown-linux-gnu",
        machines=("riscv64",),
        cpu="generic-rv64",
        features=("m", "a", "f", "d", "c"),
        needs=("m", "a", "f", "d"),
        cpus=cpu_names.RISCV64,
        extensions=tuple(
            """
            m a f d c b v zba zbb zbc zbs zbkb zfa zfh zfhmin zfbfmin zicond zca zcb zcd zve32f
            zve64d zvfh zvfhmin zvfbfmin zvfbfwma zvbb zvkb zvl128b zvl256b zvl512b
            """.split()
        ),
        flags=("--iree-llvmcpu-target-abi=lp64d",),
    ),
    "armv7": Architecture(
        hardware="32-bit Arm processors with NEON",
        triple="armv7a-unknown-linux-gnueabihf",
        machines=("armv7l", "armv7", "armhf"),
        cpu="generic",
        features=("vfp3", "neon"),
        extensions=("vfp3", "vfp4", "neon", "fp16", "hwdiv", "hwdiv-arm"),
    ),
}

_FEATURES = re.compile(r'cpu = "([^"]*)", cpu_features = "([^"]*)"')
_VECTORS = re.compile(r"native_vector_size = (\d+)")


@dataclass(frozen=True, slots=True)
class Processor:
    """What LLVM takes a processor for."""

    name: str
    features: tuple[str, ...]
    """All extensions that it then assumes."""
    vector_bytes: int


def cpu(text: str | None) -> Target:
    """`text`: what follows `cpu:`, `ARCH[:CPU][+feature...]`; None for this host."""
    if text is None:
        return host()
    base, *asked = text.split("+")
    given, colon, chosen = base.partition(":")
    arch = _architecture(given)
    row = ARCHITECTURES[arch]
    if colon:
        _check_processor(arch, chosen)
    for feature in asked:
        if feature not in row.extensions:
            near = names.near(feature, row.extensions)
            raise UnknownTargetError(
                f"cpu:{arch} has no extension +{feature}{near}; it has {_listed(row.extensions)}"
            )
    processor = chosen if colon else row.cpu
    features = tuple(f"+{f}" for f in (*(() if colon else row.features), *asked))
    name = ":".join(["cpu", arch, *([chosen] if colon else [])]) + "".join(f"+{f}" for f in asked)
    return _target(name, arch, processor, features)


def host() -> Target:
    """This machine, with the processor's name and extensions spelled out.

    LLVM finds both; naming them makes the same code on another machine, and lets the runtime
    refuse a processor that lacks one.
    """
    machine = platform.machine().lower()
    arch = next((name for name, row in ARCHITECTURES.items() if machine in row.machines), None)
    if arch is None:
        raise UnknownTargetError(
            f"cpu is this machine, an {machine}, which is none of {', '.join(ARCHITECTURES)}; "
            "name one of them (cpu:x86_64), or use vmvx, which runs anywhere"
        )
    this = _resolved(arch, "host", ())
    found = this.name
    implied = {f.removeprefix("+") for f in _resolved(arch, found, ()).features}
    row = ARCHITECTURES[arch]
    has = {f.removeprefix("+") for f in this.features if f.startswith("+")} - set(row.never)
    # Only what decides the code: what the name implies and this machine lacks is switched off.
    spelled = [f"+{f}" for f in row.extensions if f in has]
    spelled += [f"-{f}" for f in (*row.extensions, *row.never) if f in implied - has]
    note = (
        f"cpu is this machine ({found}), and other processors may not run it; "
        f"--target cpu:{arch} is portable"
    )
    return _target("cpu", arch, found, tuple(spelled), note)


def _architecture(text: str) -> str:
    if text in ARCHITECTURES:
        return text
    for name, row in ARCHITECTURES.items():
        if text in row.machines:
            return name
    raise UnknownTargetError(names.unknown(f"cpu:{text}", "cpu", tuple(ARCHITECTURES)))


def _check_processor(arch: str, processor: str) -> None:
    known = ARCHITECTURES[arch].cpus
    if processor in known:
        return
    if not known:
        raise UnknownTargetError(
            f"cpu:{arch} takes no processor, got {processor!r}: IREE does not know what each one "
            f"has; add extensions instead, such as cpu:{arch}+vfp4"
        )
    near = names.near(processor, known, f"cpu:{arch}")
    raise UnknownTargetError(
        f"there is no processor cpu:{arch}:{processor}{near}; LLVM knows {_listed(known)}"
    )


def _target(name: str, arch: str, processor: str, features: Sequence[str], *notes: str) -> Target:
    row = ARCHITECTURES[arch]
    resolved = _resolved(arch, processor, tuple(features))
    found = resolved.features
    off = {f.removeprefix("-") for f in found if f.startswith("-")}
    used = {f.removeprefix("+") for f in found if f.startswith("+")} - off - set(row.never)
    lacking = [f for f in row.needs if f not in used]
    if lacking:
        raise UnknownTargetError(
            f"{name}: code for {arch} needs the extensions {_listed(row.needs)}, and {processor} "
            f"lacks {_listed(lacking)}; use cpu:{arch}"
        )
    without = [f"-{f}" for f in row.never if f"+{f}" in found]
    return Target(
        name=name,
        backend="cpu",
        device="local",
        hardware=row.hardware if name != "cpu" else f"this machine ({processor})",
        flags=_flags(arch, processor, (*features, *without)),
        features=_DTYPES,
        arch=arch,
        cpu=processor,
        cpu_features=tuple(f"+{f}" for f in row.extensions if f in used),
        vector_bytes=resolved.vector_bytes,
        push_words=PUSH_WORDS,
        notes=notes,
    )


def _flags(arch: str, processor: str, features: Sequence[str]) -> tuple[str, ...]:
    row = ARCHITECTURES[arch]
    return (
        "--iree-hal-target-device=local",
        "--iree-hal-local-target-device-backends=llvm-cpu",
        "--iree-llvmcpu-debug-symbols=false",
        f"--iree-llvmcpu-target-triple={row.triple}",
        f"--iree-llvmcpu-target-cpu={processor}",
        f"--iree-llvmcpu-target-cpu-features={','.join(features)}",
        *row.flags,
    )


@functools.cache
def _resolved(arch: str, processor: str, features: tuple[str, ...]) -> Processor:
    """What LLVM takes a processor for; "host" is this one."""
    flags = _flags(arch, processor, features)
    what = f"for cpu:{arch}:{processor}"
    with open_session(flags) as session:
        module = bindings.parse("module {}", session.context)
        with Lowering(session, module, what) as lowering:
            lowering.advance("preprocessing")
        text = str(module)
    match, vectors = _FEATURES.search(text), _VECTORS.search(text)
    if match is None or vectors is None:
        raise CompileError(f"IREE {what} did not say what it compiles for; report this")
    return Processor(match[1], tuple(filter(None, match[2].split(","))), int(vectors[1]))


def _listed(items: Sequence[str]) -> str:
    return ", ".join(items)
