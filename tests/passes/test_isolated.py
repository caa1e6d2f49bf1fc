"""A compilation in a process of its own: the same result, and crashes that are only errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepforge.passes import (
    CompileError,
    MalformedModuleError,
    compile_both,
    compile_module,
    isolated,
)
from support.adamw_module import adamw

pytestmark = pytest.mark.compiler
SMALL = adamw([(64,)])


def test_it_is_the_same_as_in_this_process(tmp_path: Path) -> None:
    here = compile_both(SMALL, "cpu:x86_64")
    there = compile_both(SMALL, "cpu:x86_64", isolate=True, dump_ir=tmp_path)
    assert there == here
    assert (tmp_path / "00-logical.mlir").exists()


def test_errors_come_through_as_themselves(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MalformedModuleError, match="not valid MLIR"):
        compile_module("module { oh }", "vmvx", isolate=True)
    broken = """
    func.func private @elsewhere(tensor<64xf32>) -> tensor<64xf32>
    func.func @step(%p: tensor<64xf32> {stepforge.name = "/p", stepforge.role = "parameter"})
        -> tensor<64xf32> {
      %r = func.call @elsewhere(%p) : (tensor<64xf32>) -> tensor<64xf32>
      return %r : tensor<64xf32>
    }"""
    with pytest.raises(CompileError, match="IREE cannot compile") as caught:
        compile_module(broken, "vmvx", isolate=True)
    assert caught.value.diagnostics
    assert capfd.readouterr().err == ""


def test_a_late_compilation_is_stopped() -> None:
    with pytest.raises(CompileError, match=r"took longer than 0\.01 seconds"):
        compile_module(SMALL, "cpu:x86_64", isolate=True, timeout=0.01)


def test_only_another_process_can_be_stopped() -> None:
    with pytest.raises(ValueError, match="isolate=True"):
        compile_module(SMALL, "cpu:x86_64", timeout=1.0)


CRASH = "import os, signal; os.write(2, b'LLVM ERROR: out of luck\\n'); os.abort()"


def test_a_crash_is_an_error_with_the_last_words(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "crashing.py").write_text(CRASH)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(isolated, "_WORKER", "crashing")
    with pytest.raises(CompileError) as caught:
        compile_module(SMALL, "cpu:x86_64", isolate=True)
    assert "ended by SIGABRT" in str(caught.value)
    assert "LLVM ERROR: out of luck" in str(caught.value)
    assert "LLVM ERROR" in caught.value.log


def test_the_working_directory_cannot_shadow_the_library(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('shadowed')")
    monkeypatch.chdir(tmp_path)
    assert compile_module(SMALL, "vmvx", isolate=True).vmfb
