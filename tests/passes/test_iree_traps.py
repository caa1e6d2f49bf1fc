"""What IREE 3.13 does that this package works around, tried without the workaround.

A failure here is good news: a newer IREE has mended something, and the code named in the message
can be simplified. `tests/traps/iree_traps.py` has those that need no part of this project.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from iree.compiler.api import Session

from stepforge.passes import bindings, codegen, parse_target, statistics
from stepforge.passes.bindings import ir
from stepforge.passes.errors import CompileError
from stepforge.passes.session import Lowering, open_session
from stepforge.passes.targets import cpu, cpu_names
from stepforge.runtime.executor import Module

pytestmark = [pytest.mark.compiler, pytest.mark.slow]

ADD = """
func.func @f(%a: tensor<64xf32>) -> tensor<64xf32> {
  %r = arith.addf %a, %a : tensor<64xf32>
  return %r : tensor<64xf32>
}"""
CPU = ("--iree-hal-target-device=local", "--iree-hal-local-target-device-backends=llvm-cpu")
RISCV = (*CPU, "--iree-llvmcpu-target-triple=riscv64-unknown-linux-gnu")
X86 = (*CPU, "--iree-llvmcpu-target-triple=x86_64-unknown-linux-gnu")


def iree_compile(flags: Sequence[str], text: str = ADD) -> subprocess.CompletedProcess[str]:
    """`iree-compile` of the same wheel, whose crash is not ours."""
    command = [sys.executable, "-m", "iree.compiler.tools.scripts.iree_compile", "-"]
    return subprocess.run(
        [*command, "-o", "/dev/null", *flags], input=text, capture_output=True, text=True
    )


def mended(what: str, where: str) -> str:
    return f"IREE has changed: {what}. Look at {where}: what it does may no longer be needed."


def test_unknown_extensions_pass() -> None:
    flags = ["--iree-llvmcpu-target-cpu=x86-64", "--iree-llvmcpu-target-cpu-features=+bogus"]
    done = iree_compile([*X86, *flags])
    assert done.returncode == 0, mended("it refuses unknown extensions", "targets/cpu.py")


@pytest.mark.parametrize(
    "flags",
    [
        (*X86, "--iree-llvmcpu-target-cpu=bogus"),
        (*RISCV, "--iree-llvmcpu-target-cpu=bogus"),
        ("--iree-hal-target-device=vulkan", "--iree-vulkan-target=bogus"),
        ("--iree-hal-target-device=cuda", "--iree-cuda-target=bogus"),
    ],
)
def test_unknown_names_end_the_process(flags: Sequence[str]) -> None:
    done = iree_compile(flags)
    crashed = done.returncode not in (0, 1) or "LLVM ERROR" in done.stderr
    assert crashed, mended("unknown names are an error", "targets/")


@pytest.mark.parametrize(
    ("triple", "known"),
    [
        ("x86_64-unknown-linux-gnu", cpu_names.X86_64),
        ("aarch64-unknown-linux-gnu", cpu_names.AARCH64),
        ("riscv64-unknown-linux-gnu", cpu_names.RISCV64),
    ],
)
def test_the_processors_are_those_in_the_table(triple: str, known: Sequence[str]) -> None:
    flags = (*CPU, f"--iree-llvmcpu-target-triple={triple}", "--iree-llvmcpu-target-cpu=bogus")
    match = re.search(r"List of accepted CPUs: (.*)", iree_compile(flags).stderr)
    assert match is not None
    assert sorted(match[1].split(", ")) == sorted(known), "mend targets/cpu_names.py"


def test_armv7_processors_bring_no_extensions() -> None:
    flags = (*CPU, "--iree-llvmcpu-target-triple=armv7a-unknown-linux-gnueabihf")
    done = iree_compile([*flags, "--iree-llvmcpu-target-cpu=cortex-a7"])
    said = "is not implemented" in done.stderr
    assert said, mended("it resolves the processors of armv7", "ARCHITECTURES in targets/cpu.py")


@pytest.mark.parametrize("name", ["sm_90", "sm_100"])
def test_hopper_has_no_code(name: str) -> None:
    done = iree_compile(["--iree-hal-target-device=cuda", f"--iree-cuda-target={name}"])
    assert done.returncode != 0, mended(f"it compiles for {name}", "CUDA_ALIASES in targets/gpu.py")


def test_adreno_has_no_8_bit_code() -> None:
    text = ADD.replace("64xf32", "1024xi8").replace("arith.addf", "arith.addi")
    flags = ["--iree-hal-target-device=vulkan", "--iree-vulkan-target=adreno"]
    done = iree_compile(flags, text)
    assert done.returncode != 0, mended(
        "8 bits compile for adreno", "FAMILIES in targets/vulkan.py"
    )


@pytest.mark.parametrize("op", ["arith.remf", "math.sin", "math.cos", "math.tanh"])
def test_float64_of_libm_does_not_link(op: str) -> None:
    operands = "%a, %a" if op == "arith.remf" else "%a"
    text = ADD.replace("f32", "f64").replace("arith.addf %a, %a", f"{op} {operands}")
    done = iree_compile([*X86, "--iree-input-demote-f64-to-f32=false"], text)
    assert "undefined symbol" in done.stderr, mended(f"{op} links for float64", "docs and messages")


def test_the_alias_flag_is_global() -> None:
    with pytest.raises(ValueError, match="option not found"):
        Session().set_flags("--iree-stream-resource-alias-mutable-bindings=true")


def test_the_resource_attribute_prints_what_does_not_parse() -> None:
    with open_session(CPU) as session, session.context:
        text = "#stream.resource_config<{alias_mutable_bindings = true}>"
        printed = str(ir.Attribute.parse(text))
        assert "alias_mutable_bindings = 1" in printed, mended("it prints true", "plain_build.py")


def test_sessions_take_unknown_operations() -> None:
    allowed = Session().context.allow_unregistered_dialects
    assert allowed, mended("sessions refuse unknown operations", "open_session in session.py")


def test_linkers_write_to_stderr_alone() -> None:
    text = ADD.replace("f32", "f64").replace("arith.addf", "arith.remf")
    with open_session(parse_target("cpu:x86_64").flags) as session:
        module = bindings.parse(text, session.context)
        with Lowering(session, module, "a test") as lowering, pytest.raises(CompileError) as caught:
            lowering.advance("end")
    said = " ".join(d.message for d in caught.value.diagnostics)
    assert "undefined symbol" not in said, mended("diagnostics say why", "Lowering._captured_log")
    assert "undefined symbol" in caught.value.log


SQRT = ADD.replace("arith.addf %a, %a", "math.sqrt %a")


def generated(text: str, target: str, *, exact: bool = False, flags: Sequence[str] = ()) -> bytes:
    known = parse_target(target)
    with open_session([*known.flags, *flags]) as session:
        module = bindings.parse(text, session.context)
        with Lowering(session, module, "a test") as lowering:
            lowering.advance("executable-targets")
            if exact:
                assert codegen.use_exact_roots(module) > 0
            lowering.advance("end")
            return lowering.bytecode()


def test_cuda_roots_are_approximate() -> None:
    assert b"sqrt.approx.f32" in generated(SQRT, "cuda"), mended("sqrt is exact", "codegen.py")
    exact = generated(SQRT, "cuda", exact=True)
    assert b"sqrt.rn.f32" in exact
    assert b"sqrt.approx" not in exact


def test_gpu_code_carries_source_lines() -> None:
    located = f'{ADD} loc("secret.py":7:1)'
    level = ["--iree-hal-executable-debug-level=2"]
    loud = b"secret.py" in generated(located, "cuda", flags=level)
    assert loud, mended("no source line is kept", "COMMON_FLAGS in session.py")
    assert b"secret.py" not in generated(located, "cuda")


def test_f16_on_the_portable_profile_uses_no_16_bit_floats() -> None:
    """Neither an error nor the capability: the buffer is taken for f32."""
    with open_session(parse_target("vulkan").flags) as session:
        module = bindings.parse(ADD.replace("f32", "f16"), session.context)
        with Lowering(session, module, "a test") as lowering:
            lowering.advance("executable-targets")
            found = codegen.spirv_capabilities(module)
    assert "Float16" not in found, mended("f16 is f16", "the portable Family in targets/vulkan.py")


LATE = """
func.func @f(%a: tensor<64xf32> {iree.abi.output = 0 : index}) -> (tensor<64xf32>, tensor<f32>) {
  %0 = arith.addf %a, %a : tensor<64xf32>
  %zero = arith.constant 0.0 : f32
  %e = tensor.empty() : tensor<f32>
  %i = linalg.fill ins(%zero : f32) outs(%e : tensor<f32>) -> tensor<f32>
  %s = linalg.reduce { arith.addf } ins(%a : tensor<64xf32>) outs(%i : tensor<f32>) dimensions = [0]
  return %0, %s : tensor<64xf32>, tensor<f32>
}"""


def test_old_values_are_read_after_they_are_overwritten() -> None:
    with open_session(parse_target("cpu:x86_64").flags) as session:
        module = bindings.parse(LATE, session.context)
        with Lowering(session, module, "a test") as lowering:
            lowering.advance("stream")
            assert statistics.collect(module)["f"].late_reads == 1
            lowering.advance("end")
            loaded = Module(lowering.bytecode(), "local-sync")
    ones = loaded.upload(np.ones(64, np.float32))
    total = float(np.asarray(loaded.call("f", [ones])[1]))
    assert total == 128.0, mended("reads come before writes", "late_reads in statistics.py")


def test_one_operation_per_step_is_one_dispatch_without_our_passes() -> None:
    """So a dispatch count alone proves nothing about fuse-step-math."""
    text = """
    func.func @f(%a: tensor<64xf32>, %b: tensor<64xf32>) -> (tensor<64xf32>, tensor<64xf32>) {
      %0 = arith.mulf %a, %b : tensor<64xf32>
      %1 = math.sqrt %0 : tensor<64xf32>
      %2 = arith.divf %1, %b : tensor<64xf32>
      return %2, %0 : tensor<64xf32>, tensor<64xf32>
    }"""
    with open_session(parse_target("cpu:x86_64").flags) as session:
        module = bindings.parse(text, session.context)
        with Lowering(session, module, "a test") as lowering:
            lowering.advance("stream")
            assert statistics.collect(module)["f"].dispatches == 1


def test_every_extension_in_the_tables_is_known_to_llvm() -> None:
    for name, row in cpu.ARCHITECTURES.items():
        every = ",".join(f"+{feature}" for feature in (*row.extensions, *row.never))
        flags = (*CPU, f"--iree-llvmcpu-target-triple={row.triple}", *row.flags)
        flags = (*flags, f"--iree-llvmcpu-target-cpu={row.cpu}")
        done = iree_compile([*flags, f"--iree-llvmcpu-target-cpu-features={every}"])
        unknown = re.findall(r"'\+(\S+)' is not a recognized feature", done.stderr)
        assert unknown == [], f"mend {name} in targets/cpu.py"


def test_the_compiler_in_use_is_the_one_the_notes_are_about() -> None:
    version = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    assert "iree-base-compiler==3.13.0" in version, "rewrite what this module says about 3.13"
