"""Native code for a processor that this one is not: refused by name, before any of it is mapped."""

from __future__ import annotations

import dataclasses
import platform
from collections.abc import Callable

import pytest

from stepforge import runtime
from stepforge.runtime import cpu_features, device_check
from stepforge.runtime.cpu_features import (
    host_architecture,
    host_features,
    listed_features,
    missing_features,
)
from stepforge.runtime.device_check import check_cpu
from stepforge.runtime.manifest import Target

# As Linux 6.12 spells what code generators use: arch/x86/include/asm/cpufeatures.h and
# arch/arm64/kernel/cpuinfo.c.
LINUX = {
    "x86_64": """
        pni ssse3 sse4_1 sse4_2 sse4a popcnt abm movbe bmi1 bmi2 tbm f16c fma fma4 xop gfni avx avx2
        avx_vnni avx_vnni_int8 avx_vnni_int16 avx_ifma avx_ne_convert avx512f avx512cd avx512bw
        avx512dq avx512vl avx512ifma avx512vbmi avx512_vbmi2 avx512_vnni avx512_bitalg
        avx512_vpopcntdq avx512_bf16 avx512_fp16 avx512_vp2intersect sse sse2 adx aes vaes
        pclmulqdq vpclmulqdq rdrand sha_ni amx_tile amx_int8 amx_bf16
    """.split(),
    "aarch64": """
        fp asimd aes pmull sha1 sha2 crc32 atomics fphp asimdhp asimdrdm jscvt fcma lrcpc dcpop sha3
        asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm ssbs sb dcpodp sve2 sveaes flagm2 frint
        svei8mm svef32mm svef64mm svebf16 i8mm bf16 sme sme2 sve2p1 cssc mops hbc
    """.split(),
}
CORTEX_A72 = "processor : 0\nFeatures : fp asimd evtstrm aes pmull sha1 sha2 crc32 cpuid\n"
SKYLAKE = """processor\t: 0
flags\t\t: fpu sse sse2 pni ssse3 fma sse4_1 sse4_2 movbe popcnt avx f16c abm bmi1 avx2 bmi2 rdrand
"""


def test_architectures_have_one_spelling(monkeypatch: pytest.MonkeyPatch) -> None:
    for spelled, name in (("AMD64", "x86_64"), ("arm64", "aarch64"), ("riscv64", "riscv64")):
        monkeypatch.setattr(platform, "machine", lambda spelled=spelled: spelled)
        assert host_architecture() == name


@pytest.mark.compiler
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_every_feature_that_code_may_use_is_checked(arch: str) -> None:
    """A row of the targets' table that Linux spells in a way unknown here would be refused always;
    one that is not looked for, never."""
    from stepforge.passes.targets.cpu import ARCHITECTURES  # noqa: PLC0415 - needs the compiler

    everything = frozenset(LINUX[arch])
    for feature in ARCHITECTURES[arch].extensions:
        assert missing_features(arch, (f"+{feature}",), everything) == []
        assert missing_features(arch, (f"+{feature}",), frozenset()) == [feature]


CASES = [
    ("x86_64", "+sse4.2 +lzcnt +bmi", "sse4_2 abm bmi1", []),
    ("x86_64", "+sse4.2 +lzcnt +bmi", "sse4.2", ["sse4.2", "lzcnt", "bmi"]),
    ("x86_64", "-fma4 -xop", "", []),
    ("aarch64", "+neon +fp-armv8 +dotprod", "asimd fp", ["dotprod"]),
    ("aarch64", "+lse +sve2", "atomics sve2", []),
    # Newer than the lists: refused rather than tried.
    ("x86_64", "+avx99", "avx avx2", ["avx99"]),
    ("x86_64", "+avx99", "avx99", []),
    # An architecture of which nothing is known.
    ("riscv64", "+v", "", []),
]


@pytest.mark.parametrize(("arch", "wanted", "here", "missing"), CASES)
def test_feature_names(arch: str, wanted: str, here: str, missing: list[str]) -> None:
    found = missing_features(arch, tuple(wanted.split()), frozenset(here.split()))
    assert found == missing


def test_no_cpuinfo_refuses_nothing() -> None:
    assert missing_features("x86_64", ("+avx512f",), None) == []


def test_reading_cpuinfo() -> None:
    assert listed_features("aarch64", CORTEX_A72) == set(CORTEX_A72.split()[5:])
    assert "avx2" in (listed_features("x86_64", SKYLAKE) or ())
    # As an emulator shows it: the text is another machine's.
    assert listed_features("aarch64", SKYLAKE) is None
    assert listed_features("x86_64", "") is None
    assert listed_features("riscv64", "isa : rv64imafdc\n") is None


def test_what_one_core_lacks_is_lacking() -> None:
    both = CORTEX_A72 + CORTEX_A72.replace("crc32", "crc32 sve atomics").replace("aes ", "")
    assert listed_features("aarch64", both) == set(CORTEX_A72.split()[5:]) - {"aes"}


@pytest.mark.skipif(platform.system() != "Linux", reason="/proc/cpuinfo is Linux's")
def test_this_machine_has_features() -> None:
    found = host_features()
    assert found is None or len(found) > 5


@pytest.fixture
def host(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """Be another machine."""

    def be(arch: str, cpuinfo: str) -> None:
        monkeypatch.setattr(cpu_features.platform, "machine", lambda: arch)
        features = listed_features(arch, cpuinfo)
        monkeypatch.setattr(device_check, "host_features", lambda: features)

    return be


@pytest.mark.compiler
@pytest.mark.parametrize(
    ("target", "machine", "cpuinfo", "lacks"),
    [
        ("cpu:x86_64", "x86_64", SKYLAKE, ""),
        ("cpu:x86_64:skylake-avx512", "x86_64", SKYLAKE, "avx512f, avx512cd, avx512bw"),
        ("cpu:x86_64:znver4", "x86_64", SKYLAKE, "sse4a"),
        ("cpu:x86_64+avxvnni", "x86_64", SKYLAKE, "avxvnni;"),
        ("cpu:aarch64", "arm64", CORTEX_A72, ""),
        ("cpu:aarch64:cortex-a72", "aarch64", CORTEX_A72, ""),
        ("cpu:aarch64:cortex-a76", "aarch64", CORTEX_A72, "lse, rdm, rcpc, dotprod, fullfp16;"),
        ("cpu:aarch64:neoverse-v1", "aarch64", CORTEX_A72, "lse, rdm"),
        ("cpu:aarch64+sve2", "aarch64", CORTEX_A72, "sve2"),
    ],
)
def test_real_targets_on_real_machines(
    target: str, machine: str, cpuinfo: str, lacks: str, host: Callable[[str, str], None]
) -> None:
    from stepforge.passes.targets import parse_target  # noqa: PLC0415 - needs the compiler

    made = parse_target(target)
    wanted = Target(target, "llvm-cpu", "local", made.arch, made.cpu, made.cpu_features)
    host(machine, cpuinfo)
    if not lacks:
        check_cpu(wanted)
        return
    with pytest.raises(runtime.CpuMismatchError) as caught:
        check_cpu(wanted)
    assert lacks in str(caught.value)
    assert "features that this machine lacks" in str(caught.value)
    other = dataclasses.replace(wanted, arch="sparc9")
    with pytest.raises(runtime.CpuMismatchError, match="native code for sparc9, this machine is"):
        check_cpu(other)
