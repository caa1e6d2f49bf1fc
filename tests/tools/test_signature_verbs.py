"""`stepforge sign` and `verify-signature`, as a person uses them."""

from __future__ import annotations

import json
import shutil
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stepforge import runtime
from stepforge.tools.cli import main

pytestmark = pytest.mark.compiler

Run = Callable[..., Result]


@pytest.fixture
def signing(cli: Run, artifact: Path, tmp_path: Path) -> Path:
    """A folder with `a.vmfb` and the keys `owner.pem` and `owner.pub.pem`."""
    shutil.copy(artifact, tmp_path / "a.vmfb")
    cli("sign", "--new-key", tmp_path / "owner.pem")
    return tmp_path


def test_new_keys_are_a_pair_and_the_private_one_is_ours_alone(signing: Path, cli: Run) -> None:
    private, public = signing / "owner.pem", signing / "owner.pub.pem"
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert b"BEGIN PRIVATE KEY" in private.read_bytes()
    assert b"BEGIN PUBLIC KEY" in public.read_bytes()
    result = cli("sign", "--new-key", private, code=2)
    assert "owner.pem, " in result.stderr
    assert "a key is never overwritten" in result.stderr
    private.unlink()
    cli("sign", "--new-key", private, code=2)
    assert not private.exists()


def test_signing_in_place(signing: Path, cli: Run) -> None:
    file = signing / "a.vmfb"
    before = runtime.read_artifact(file)
    result = cli("sign", file, "--key", signing / "owner.pem")
    assert f"signed, SHA-256 of what was signed {before.sha256}" in result.stdout
    held = cli("verify-signature", file, "--public-key", signing / "owner.pub.pem")
    assert "the signature holds" in held.stdout
    assert "yes; verify-signature says whose" in cli("inspect", file).stdout
    assert json.loads(cli("inspect", file, "--json").stdout)["signed"] is True
    cli("verify", file, "--steps", 1)


def test_signing_elsewhere(signing: Path, cli: Run) -> None:
    file, out, key = signing / "a.vmfb", signing / "b.vmfb", signing / "owner.pem"
    before = file.read_bytes()
    facts = json.loads(cli("sign", file, "--key", key, "-o", out, "--json").stdout)
    assert facts == {"file": str(out), "sha256": runtime.read_artifact(before).sha256}
    assert file.read_bytes() == before
    again = cli("sign", file, "--key", key, "-o", out, code=2)
    assert "exists and is not overwritten" in again.stderr
    signed = out.read_bytes()
    cli("sign", file, "--key", key, "-o", out, "--force")
    assert out.read_bytes() == signed
    command = ("verify-signature", out, "--public-key", signing / "owner.pub.pem", "--json")
    assert json.loads(cli(*command).stdout) == {**facts, "signed": True}


def test_verdicts_are_exit_codes(signing: Path, cli: Run) -> None:
    file, public = signing / "a.vmfb", signing / "owner.pub.pem"
    check = ("verify-signature", file, "--public-key", public)
    assert "the artifact has none" in cli(*check, code=1).stderr
    cli("sign", "--new-key", signing / "other.pem")
    cli("sign", file, "--key", signing / "other.pem")
    assert "another key" in cli(*check, code=1).stderr
    assert "got a private key" in cli(*check[:-1], signing / "owner.pem", code=2).stderr
    data = bytearray(file.read_bytes())
    data[-200] ^= 1
    file.write_bytes(data)
    assert "changed or damaged" in cli(*check, code=3).stderr
    assert "changed or damaged" in cli("sign", file, "--key", signing / "owner.pem", code=3).stderr
    cli("verify-signature", file, code=2)


def test_verbs_that_run_code_ask_for_the_signature(signing: Path, cli: Run, arrays: Path) -> None:
    file, key = signing / "a.vmfb", ("--public-key", signing / "owner.pub.pem")
    run = ("run", file, "--gradients", arrays, "--params", arrays, "--state", signing / "s")
    for command in (("verify", file, "--steps", 1), run):
        assert "the artifact has none" in cli(*command, *key, code=1).stderr
    cli("sign", file, "--key", signing / "owner.pem")
    for command in (("verify", file, "--steps", 1), (*run, "--isolate")):
        cli(*command, *key)


@pytest.mark.parametrize("given", [(), ("a.vmfb",), ("--new-key", "k.pem", "a.vmfb")])
def test_wrong_usage(given: tuple[str, ...], signing: Path, cli: Run) -> None:
    options = [str(signing / x) if "." in x else x for x in given]
    assert "new-key" in cli("sign", *options, code=2).stderr
    assert not (signing / "k.pem").exists()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
def test_keys_of_openssl_and_a_password(signing: Path, cli: Run) -> None:
    key, public, file = signing / "o.pem", signing / "o.pub.pem", signing / "a.vmfb"
    make = ["genpkey", "-algorithm", "ed25519", "-aes256", "-pass", "pass:word", "-out", key]
    subprocess.run(["openssl", *make], check=True, capture_output=True)
    show = ["pkey", "-in", key, "-passin", "pass:word", "-pubout", "-out", public]
    subprocess.run(["openssl", *show], check=True, capture_output=True)
    command = ["sign", str(file), "--key", str(key)]
    wrong = CliRunner().invoke(main, command, input="other\n")
    assert wrong.exit_code == 2
    assert "is the password right?" in wrong.stderr
    assert CliRunner().invoke(main, command, input="word\n").exit_code == 0
    cli("verify-signature", file, "--public-key", public)


PROGRAM = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "cryptography":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
from stepforge.tools.cli import main
main()
"""


def test_without_the_extra(signing: Path) -> None:
    for options in (
        ("sign", "a.vmfb", "--key", "owner.pem"),
        ("sign", "--new-key", "new.pem"),
        ("verify-signature", "a.vmfb", "--public-key", "owner.pub.pem"),
    ):
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, *options], capture_output=True, text=True, cwd=signing
        )
        assert done.returncode == 2, done.stderr
        assert "pip install 'stepforge[sign]'" in done.stderr
