"""Compiling in this process: every target, the same bytes each time, and errors one can read."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from stepforge.passes import (
    CompileError,
    FunctionStatistics,
    MalformedModuleError,
    Statistics,
    UnsupportedDTypeError,
    compile_both,
    compile_module,
    parse_target,
    target_names,
)
from stepforge.passes.build import check_push_words
from stepforge.passes.session import parse_diagnostic
from support.adamw_module import adamw

pytestmark = pytest.mark.compiler

SHAPES = ((64, 32), (32,), (7,))
SMALL = adamw([(1024,)])

# The first bytes that name the instruction set: e_machine, and the class (32 or 64 bits).
ELF = {
    "cpu:x86_64": (2, 0x3E),
    "cpu:aarch64": (2, 0xB7),
    "cpu:aarch64:cortex-a72": (2, 0xB7),
    "cpu:riscv64": (2, 0xF3),
    "cpu:riscv64:spacemit-x60": (2, 0xF3),
    "cpu:armv7": (1, 0x28),
}


# One of each code generator; the families of one differ in little.
FIRST = ("cpu", "cpu:aarch64", "cpu:riscv64", "cpu:armv7", "vulkan", "vulkan:adreno", "cuda")
FIRST = (*FIRST, "rocm:gfx942", "metal", "vmvx")


def every_target() -> list[ParameterSet]:
    return [
        pytest.param(name, marks=() if name in FIRST else pytest.mark.slow)
        for name in target_names()
    ]


@pytest.mark.parametrize("name", every_target())
def test_adamw_in_place_compiles_for_every_target(name: str) -> None:
    compiled = compile_module(adamw(SHAPES), name)
    step = compiled.statistics["step"]
    assert (step.dispatches, step.copies, step.fills) == (1, 0, 0)
    assert (step.transient_bytes, step.waits, step.late_reads) == (0, 0, 0)
    assert compiled.info["name"] == name
    assert compiled.info["features"] == ()
    assert compiled.warnings == ()
    assert ("self_test" in compiled.statistics.functions) == parse_target(name).self_test


@pytest.mark.parametrize("name", ELF)
def test_native_code_is_for_its_processor(name: str) -> None:
    vmfb = compile_module(SMALL, name).vmfb
    start = vmfb.index(b"\x7fELF")
    machine = int.from_bytes(vmfb[start + 18 : start + 20], "little")
    assert (vmfb[start + 4], machine) == ELF[name]
    assert len(vmfb) < 10_000


def test_hardware_floats_are_used_on_every_processor() -> None:
    """EF_ARM_ABI_FLOAT_HARD and RISC-V's double float ABI."""
    flags = {"cpu:armv7": (36, 0x400, 0x400), "cpu:riscv64": (48, 0x6, 0x4)}
    for name, (offset, mask, expected) in flags.items():
        vmfb = compile_module(SMALL, name).vmfb
        start = vmfb.index(b"\x7fELF") + offset
        assert int.from_bytes(vmfb[start : start + 4], "little") & mask == expected, name


@pytest.mark.parametrize("name", ["cpu", "cpu:aarch64", "vulkan", "cuda", "metal", "vmvx"])
def test_the_same_input_gives_the_same_bytes(name: str) -> None:
    assert compile_module(SMALL, name).vmfb == compile_module(SMALL, name).vmfb


PROGRAM = """
import hashlib, sys
from stepforge.passes import compile_module
text = sys.stdin.read()
for name in sys.argv[1:]:
    print(hashlib.sha256(compile_module(text, name).vmfb).hexdigest())
"""


def test_the_same_bytes_in_another_process_and_folder(tmp_path: Path) -> None:
    names = ["cpu", "vulkan", "cuda"]
    command = [sys.executable, "-c", PROGRAM, *names]
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        command, input=SMALL, capture_output=True, text=True, cwd=tmp_path, env=environment
    )
    assert done.stderr == ""
    here = [hashlib.sha256(compile_module(SMALL, name).vmfb).hexdigest() for name in names]
    assert done.stdout.split() == here


@pytest.mark.parametrize("name", ["cpu", "cpu:riscv64", "vulkan", "cuda", "rocm:gfx942", "metal"])
def test_no_path_and_no_source_line_gets_into_the_bytes(name: str) -> None:
    lines = SMALL.splitlines()
    located = [
        f'{line} loc("/home/someone/secret.py":{number}:3)' if " = arith." in line else line
        for number, line in enumerate(lines)
    ]
    vmfb = compile_module("\n\n".join(located), name).vmfb
    assert vmfb == compile_module(SMALL, name).vmfb
    for word in (b"secret", b"/home", b"/tmp", b"/usr", b"site-packages"):
        assert word not in vmfb


def test_both_builds_are_the_two_single_ones() -> None:
    pair = compile_both(adamw(SHAPES), "cpu:x86_64")
    assert pair.in_place.vmfb == compile_module(adamw(SHAPES), "cpu:x86_64").vmfb
    assert pair.plain.statistics["step"].dispatches == 1
    assert pair.plain.statistics["step"].transient_bytes == 3 * 4 * (64 * 32 + 32 + 16)
    assert b"iree.abi.output" in pair.in_place.vmfb
    assert b"iree.abi.output" not in pair.plain.vmfb
    alone = compile_module(adamw(SHAPES), "cpu:x86_64", in_place=False)
    assert alone.statistics == pair.plain.statistics


def test_cuda_computes_exact_roots_and_quotients_in_one_kernel_per_tensor() -> None:
    pair = compile_both(adamw([(1024,), (333, 3)]), "cuda", layout="separate")
    for vmfb in (pair.in_place.vmfb, pair.plain.vmfb):
        assert b"sqrt.rn.f32" in vmfb
        assert b"div.rn.f32" in vmfb
        assert b".approx" not in vmfb
        assert b".ftz" not in vmfb
        kernels = vmfb.count(b".visible .entry")
        assert kernels == 4  # one per tensor, two of the self-test
    # Loads that take the memory for constant: all in the plain build, but not of state that is
    # written in place.
    loads = [
        (vmfb.count(b"ld.global.nc"), vmfb.count(b"ld.global"))
        for vmfb in (pair.in_place.vmfb, pair.plain.vmfb)
    ]
    assert loads[1][0] == loads[1][1] == loads[0][1]
    assert loads[0][1] - loads[0][0] == 6  # p, m and v of each tensor


def test_vulkan_needs_what_its_dtypes_need() -> None:
    assert compile_module(SMALL, "vulkan").info["requirements"] == ("Vulkan 1.3",)
    half = compile_module(scaled("f16"), "vulkan:llvmpipe").info
    assert half["features"] == ("f16",)
    assert {"Float16", "StorageBuffer16BitAccess"} <= set(half["requirements"])


def scaled(dtype: str) -> str:
    """p + p over 64 elements of `dtype`, in place."""
    attributes = (
        '{stepforge.name = "/p", stepforge.role = "parameter", stepforge.result = 0 : index}'
    )
    return f"""
    module attributes {{stepforge.abi = 1 : i64}} {{
      func.func @step(%p: tensor<64x{dtype}> {attributes}) -> tensor<64x{dtype}> {{
        %r = arith.addf %p, %p : tensor<64x{dtype}>
        return %r : tensor<64x{dtype}>
      }}
    }}"""


@pytest.mark.parametrize("name", ["vulkan", "vulkan:videocore_vii", "vmvx"])
def test_what_would_be_garbage_is_refused_before_iree_sees_it(name: str) -> None:
    with pytest.raises(UnsupportedDTypeError, match=f"target {name} cannot hold f16"):
        compile_module(scaled("f16"), name)


@pytest.mark.parametrize("name", ["cpu:x86_64", "cuda", "vmvx", "vulkan:llvmpipe"])
def test_float64_stays_float64(name: str) -> None:
    compiled = compile_module(scaled("f64"), name)
    assert compiled.info["features"] == ("f64",)
    assert b"tensor<64xf64>" in compiled.vmfb


def test_text_that_does_not_parse_says_where(capfd: pytest.CaptureFixture[str]) -> None:
    """IREE's own sessions take unknown operations, and crash on them later."""
    misspelt = scaled("f32").replace("return", "retrun")
    with pytest.raises(MalformedModuleError, match=r'not valid MLIR:\nloc\("-":5:'):
        compile_module(misspelt, "cpu:x86_64")
    unknown = scaled("f32").replace(
        "arith.addf %p, %p : tensor<64xf32>",
        '"some.op"(%p) : (tensor<64xf32>) -> tensor<64xf32>',
    )
    with pytest.raises(MalformedModuleError, match=r'not valid MLIR:\nloc\("-":4:.*unregistered'):
        compile_module(unknown, "cpu:x86_64")
    assert capfd.readouterr().err == ""


# Of libm's functions for 64 bits, fmod is not among those that IREE links into native code.
UNLINKABLE = scaled("f64").replace("arith.addf", "arith.remf")


def test_a_failure_of_iree_becomes_one_exception_and_no_noise(
    capfd: pytest.CaptureFixture[str],
) -> None:
    broken = "\n".join(
        [
            "module attributes {stepforge.abi = 1 : i64} {",
            "  func.func private @elsewhere(tensor<64xf32>) -> tensor<64xf32>",
            '  func.func @step(%p: tensor<64xf32> {stepforge.name = "/p",',
            '      stepforge.role = "parameter"}) -> tensor<64xf32> {',
            "    %r = func.call @elsewhere(%p) : (tensor<64xf32>) -> tensor<64xf32>",
            '      loc("optimizer.py":12:3)',
            "    return %r : tensor<64xf32>",
            "  }",
            "}",
        ]
    )
    with pytest.raises(CompileError) as caught:
        compile_module(broken, "cpu:x86_64")
    assert str(caught.value).startswith("IREE cannot compile the module for target cpu:x86_64.\n")
    assert any(d.severity == "error" for d in caught.value.diagnostics)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_what_the_linker_says_is_in_the_exception(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(CompileError) as caught:
        compile_module(UNLINKABLE, "cpu:x86_64")
    assert "undefined symbol: fmod" in caught.value.log
    assert "undefined symbol: fmod" in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(("name", "words"), [("vulkan", 33), ("cpu:x86_64", 65)])
def test_too_many_scalars_for_a_dispatch_are_refused(name: str, words: int) -> None:
    """They compile, and fail when the artifact is loaded."""
    target = parse_target(name)
    check_push_words(statistics_with(words - 1), target)
    with pytest.raises(CompileError, match=f"{words} 32-bit scalars.*takes at most {words - 1}"):
        check_push_words(statistics_with(words), target)


def statistics_with(push_words: int) -> Statistics:
    function = FunctionStatistics(dispatches=1, push_words=push_words)
    return Statistics({"step": function}, FunctionStatistics())


def test_diagnostics_are_split_into_place_and_message() -> None:
    stack = "-:3:3: called from\n\n-:4:1: see current operation: "
    text = f"optimizer.py:12:3: op is illegal\n\n{stack}"
    diagnostic = parse_diagnostic("error", text)
    assert (diagnostic.location, diagnostic.message) == ("optimizer.py:12", "op is illegal")
    assert str(diagnostic) == "optimizer.py:12: error: op is illegal"
    assert parse_diagnostic("warning", "-:10:12: while creating").location is None
    assert parse_diagnostic("note", "no place: here").message == "no place: here"


def test_dump_ir_has_the_module_before_and_after_each_pass(tmp_path: Path) -> None:
    compile_module(SMALL, "cpu:x86_64", dump_ir=tmp_path / "ir")
    names = sorted(path.name for path in (tmp_path / "ir").iterdir())
    assert names[0] == "00-logical.mlir"
    assert "iree-stream.mlir" in names
    assert "stream.cmd.dispatch" in (tmp_path / "ir" / "iree-stream.mlir").read_text()


def test_cuda_compiles_sums_of_products_and_of_what_is_negated() -> None:
    case = Path(__file__).parent / "cases" / "split-reductions" / "products_for_cuda.mlir"
    assert compile_module(case.read_text(encoding="utf-8"), "cuda").vmfb
