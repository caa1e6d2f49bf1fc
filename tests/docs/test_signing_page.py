"""docs/signing.md: its commands and programs run, in the order in which they stand."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from docs import abi_page, pages
from stepforge import runtime
from stepforge.runtime.seal import split_signature
from support import handmade

PAGE = "signing.md"
pytestmark = pytest.mark.compiler


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """With `adamw.vmfb`, the keys that the page makes, and the signature."""
    (tmp_path / "adamw.vmfb").write_bytes(handmade.adam().vmfb_bytes)
    lines = pages.fence(PAGE, "With the command line", "console").splitlines()
    assert [line.split()[2] for line in lines] == ["sign", "sign", "verify-signature"]
    for line in lines:
        command = [str(Path(sys.executable).parent / "stepforge"), *line.split()[2:]]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    return tmp_path


def test_the_page_runs(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    for fence in pages.fences(PAGE):
        if fence.language == "python":
            exec(compile(fence.text, f"{PAGE}, {fence.heading}", "exec"), names)
    assert capsys.readouterr().out == "('step',)\n"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_keys_of_openssl(tmp_path: Path) -> None:
    text = pages.fences(PAGE)[2].text.replace("-aes256", "-aes256 -pass pass:word")
    text = text.replace("-in owner.pem", "-in owner.pem -passin pass:word")
    subprocess.run(["sh", "-euc", text], cwd=tmp_path, check=True, capture_output=True)
    path = tmp_path / "adamw.vmfb"
    path.write_bytes(handmade.adam().vmfb_bytes)
    runtime.sign_artifact(path, tmp_path / "owner.pem", password=b"word")
    assert runtime.read_artifact(path, public_key=tmp_path / "owner.pub.pem")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_openssl_verifies_as_the_abi_page_says(folder: Path) -> None:
    names: dict[str, Any] = {}
    exec(pages.fence(abi_page.PAGE, "Signatures", "python"), names)
    data = (folder / "adamw.vmfb").read_bytes()
    plain, signature = names["split"](data)
    assert (plain, signature) == split_signature("artifact", data)
    (folder / "seal").write_bytes(plain[-81:])
    (folder / "signature").write_bytes(signature)
    command = pages.fence(abi_page.PAGE, "Signatures", "sh")
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    (folder / "seal").write_bytes(plain[-82:-1])
    done = subprocess.run(["sh", "-c", command], cwd=folder, capture_output=True, text=True)
    assert done.returncode != 0


def test_exceptions_are_those_of_the_runtime() -> None:
    text = pages.read(PAGE)
    for name in ("SignatureMissingError", "SignatureInvalidError", "new_key_pair", "sign_artifact"):
        assert f"`{name}`" in text or f"`runtime.{name}(" in text
        assert hasattr(runtime, name)
