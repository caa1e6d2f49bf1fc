"""`stepforge convert`, from a file of a real torch run and back."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

pytestmark = pytest.mark.compiler

PEER = Path(__file__).resolve().parents[1] / "oracles" / "peer_states" / "torch_adamw.npz"
SHAPES = '{"encoder/w": "5x3xf32", "encoder/b": "3xf32"}'


@pytest.fixture(scope="module")
def artifact(cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("convert")
    (folder / "shapes.json").write_text(SHAPES)
    cli("compile", "adamw", "--params", folder / "shapes.json", "-o", folder / "adamw.vmfb")
    return folder / "adamw.vmfb"


@pytest.fixture
def state(tmp_path: Path) -> Path:
    with np.load(PEER) as archive:
        names = [name for name in archive.files if name.startswith("state:")]
        np.savez(tmp_path / "torch.npz", **{n.removeprefix("state:"): archive[n] for n in names})
    return tmp_path / "torch.npz"


@pytest.mark.parametrize("suffix", [".npz", ".safetensors"])
def test_there_and_back(cli, artifact: Path, state: Path, tmp_path: Path, suffix: str) -> None:
    run, back = tmp_path / "run.safetensors", tmp_path / f"back{suffix}"
    options = ("--from", "torch", "-o", run, "--json")
    facts = json.loads(cli("convert", state, artifact, *options).stdout)
    assert (facts["steps"], facts["left_out"]) == (12, [])
    cli("convert", run, artifact, "--to", "torch", "-o", back)
    given, got = dict(np.load(state)), load_file(back) if suffix != ".npz" else dict(np.load(back))
    assert set(got) == set(given)
    assert all(np.array_equal(got[name], given[name]) for name in given)


def test_the_checkpoint_can_be_stepped(cli, artifact: Path, state: Path, tmp_path: Path) -> None:
    run = tmp_path / "run.safetensors"
    cli("convert", state, artifact, "--from", "torch", "-o", run)
    gradients = {"encoder/w": np.ones((5, 3), "f4"), "encoder/b": np.ones(3, "f4")}
    np.savez(tmp_path / "gradients.npz", **gradients)
    options = ("--gradients", tmp_path / "gradients.npz", "--state", run)
    text = cli("run", artifact, *options).stdout
    assert "global step 13" in text


def test_parameters_may_be_in_a_file_of_their_own(
    cli, artifact: Path, state: Path, tmp_path: Path
) -> None:
    everything = dict(np.load(state))
    weights = {name: everything.pop(name) for name in ("encoder/w", "encoder/b")}
    np.savez(tmp_path / "weights.npz", **weights)
    np.savez(tmp_path / "moments.npz", **everything)
    run, together = tmp_path / "run.safetensors", tmp_path / "together.safetensors"
    options = ("--from", "torch", "--params", tmp_path / "weights.npz", "-o", run)
    cli("convert", tmp_path / "moments.npz", artifact, *options)
    cli("convert", state, artifact, "--from", "torch", "-o", together)
    assert run.read_bytes() == together.read_bytes()


@pytest.mark.parametrize(
    ("options", "text", "code"),
    [
        (("--from", "torch", "--to", "torch", "-o", "x.npz"), "Give one of --from and --to.", 2),
        (("-o", "x.npz"), "Give one of --from and --to.", 2),
        (("--from", "torch", "-o", "x.npz"), "checkpoints are .safetensors files", 2),
        (("--from", "optax", "-o", "x.safetensors"), "expected 'params/encoder/w'", 2),
        (("--to", "torch", "-o", "x.npz"), "is damaged or no checkpoint", 3),
        (("--to", "torch", "--steps", "3", "-o", "x.npz"), "go with --from", 2),
    ],
)
def test_wrong_use_writes_nothing(
    cli, artifact: Path, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...], text: str, code: int,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert text in cli("convert", state, artifact, *options, code=code).output
    assert not list(tmp_path.glob("x.*"))


def test_nothing_is_overwritten_without_force(
    cli, artifact: Path, state: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run.safetensors"
    run.write_bytes(b"old")
    arguments = (state, artifact, "--from", "torch", "-o", run)
    assert "exists; --force overwrites" in cli("convert", *arguments, code=2).output
    assert run.read_bytes() == b"old"
    cli("convert", *arguments, "--force")
    assert run.read_bytes() != b"old"


def test_an_artifact_of_any_length_converts_back_alone(
    cli, artifact: Path, state: Path, tmp_path: Path
) -> None:
    free, run = tmp_path / "free.vmfb", tmp_path / "run.safetensors"
    cli("compile", "adamw", "--any-length", "-o", free)
    refused = cli("convert", state, free, "--from", "torch", "-o", run, code=2)
    assert "any length restores its checkpoint" in refused.output
    cli("convert", state, artifact, "--from", "torch", "-o", run)
    for known in (free, artifact):
        cli("convert", run, known, "--to", "torch", "-o", tmp_path / f"{known.stem}.safetensors")
    files = [tmp_path / f"{known.stem}.safetensors" for known in (free, artifact)]
    assert files[0].read_bytes() == files[1].read_bytes()
