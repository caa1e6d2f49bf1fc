"""`inspect`, `verify`, `run` and `bench` on a real artifact."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from safetensors.numpy import load_file

from stepforge.tools import reference
from stepforge.tools.bounds import Accuracy
from stepforge.tools.commands import bench

pytestmark = pytest.mark.compiler

Compiled = Callable[[Sequence[str]], Path]


def test_inspect_shows_the_artifact(cli, artifact: Path) -> None:
    text = cli("inspect", artifact, "--variables").stdout
    assert "2 parameter, 4 slot, 2 gradient" in text
    assert "/AdamOptimizer/w_1st_moment" in text
    rows = {line.split()[0]: line.split() for line in text.splitlines() if line}
    assert rows["adam_weight_decay"] == ["adam_weight_decay", "0.004", "settable"]


def test_inspect_prints_the_manifest_as_json(cli, artifact: Path) -> None:
    facts = json.loads(cli("inspect", artifact, "--json").stdout)
    assert facts["bytes"] == artifact.stat().st_size
    assert facts["manifest"]["format_version"] == 1
    assert facts["manifest"]["variables"][0]["shape"] == [8, 4]


@pytest.mark.parametrize("verb", ["inspect", "verify", "bench"])
def test_a_damaged_artifact_is_corrupt_input(
    cli, artifact: Path, tmp_path: Path, verb: str
) -> None:
    data = bytearray(artifact.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "bad.vmfb").write_bytes(data)
    cli(verb, tmp_path / "bad.vmfb", code=3)
    cli(verb, tmp_path / "no.vmfb", code=2)


def test_verify_compares_with_the_graph(cli, artifact: Path) -> None:
    facts = json.loads(cli("verify", artifact, "--steps", 5, "--json").stdout)
    assert [verdict["device"] for verdict in facts["devices"]] == ["local-sync", "local-task"]
    for verdict in facts["devices"]:
        assert verdict["passed"]
        kinds = {item["kind"]: item for item in verdict["deviations"]}
        assert kinds["parameter"]["elements"] == 5 * 36
        assert 0 < kinds["slot 2nd_moment"]["of_bound"] <= 1
        assert kinds["counter"]["of_bound"] == 0


def test_a_step_with_phases_is_verified_in_them_too(cli, compiled: Compiled) -> None:
    path = compiled(("--set", "clip_global_norm=1", "--phases"))
    text = cli("inspect", path).stdout
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "reduce 2 gradient partials sum_of_squares" in rows
    assert any(row.startswith("apply 2 parameter, 4 slot, 2 gradient, 1 partials") for row in rows)
    facts = json.loads(cli("verify", path, "--device", "local-sync", "--steps", 3, "--json").stdout)
    (verdict,) = facts["devices"]
    kinds = {item["kind"]: item for item in verdict["deviations"]}
    assert verdict["passed"]
    assert kinds["partials"]["elements"] == 3
    assert 0 < kinds["partials"]["of_bound"] <= 1
    assert kinds["parameter"]["elements"] == 2 * 3 * 36
    assert "the entry points step;" in cli("verify", path, "--function", "apply", code=2).stderr


def test_inspect_prints_the_ranges_of_shards(cli, compiled: Compiled) -> None:
    text = cli("inspect", compiled(("--shards", "3"))).stdout
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "arena type of each of 3 shards" in rows
    assert "@arena0 48xfloat32 2 variables [16 r, 16 (r + 1))" in rows


def test_verify_fails_past_the_bound(cli, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "ACCURACY", {"local": Accuracy(arithmetic=0.01)})
    result = cli("verify", artifact, "--device", "local-sync", code=1)
    assert "FAILED" in result.stdout
    assert "further off than rounding explains" in result.stderr


def test_verify_on_a_device_that_is_not_there(cli, artifact: Path) -> None:
    assert "unknown driver" in cli("verify", artifact, "--device", "abacus", code=4).stderr
    cli("verify", artifact, "--device", "vulkan", code=4)


def test_verify_names_the_entry_points(cli, artifact: Path) -> None:
    result = cli("verify", artifact, "--function", "jump", code=2)
    assert "the entry points step" in result.stderr


def test_run_steps_and_saves(cli, artifact: Path, arrays: Path, tmp_path: Path) -> None:
    state = tmp_path / "s.safetensors"
    common = ("run", artifact, "--gradients", arrays, "--state", state, "--json")
    facts = json.loads(cli(*common, "--params", arrays, "--steps", 3).stdout)
    assert (facts["steps"], facts["global_step"]) == (3, 3)
    facts = json.loads(cli(*common, "--steps", 2).stdout)
    assert facts["global_step"] == 5
    assert load_file(state)["state/global_step"] == 5


def test_run_goes_on_as_if_never_stopped(cli, artifact: Path, arrays: Path, tmp_path: Path) -> None:
    once, twice = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    common = ("run", artifact, "--gradients", arrays)
    cli(*common, "--state", once, "--params", arrays, "--steps", 5)
    cli(*common, "--state", twice, "--params", arrays, "--steps", 2)
    cli(*common, "--state", twice, "--steps", 3)
    assert once.read_bytes() == twice.read_bytes()


def test_run_sets_and_saves_elsewhere(cli, artifact: Path, arrays: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "1.safetensors", tmp_path / "2.safetensors"
    common = ("run", artifact, "--gradients", arrays, "--state", first)
    cli(*common, "--params", arrays, "--set", "weight_decay=0.5", "--device", "local-task")
    before = first.read_bytes()
    cli(*common, "--save", second)
    assert first.read_bytes() == before
    assert load_file(second)["state/optimizers/adam_weight_decay"] == 0.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "give --params"),
        (("--params", "ARRAYS", "--set", "adam_beta1=0.5"), "was compiled into the artifact"),
        (("--params", "ARRAYS", "--set", "epsilon=1"), "no hyperparameter 'epsilon'"),
        (("--params", "ARRAYS", "--function", "jump"), "no entry point 'jump'"),
    ],
)
def test_run_refuses(
    cli, artifact: Path, arrays: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    given = [arrays if option == "ARRAYS" else option for option in options]
    state = tmp_path / "s.safetensors"
    result = cli("run", artifact, "--gradients", arrays, "--state", state, *given, code=2)
    assert message in result.stderr
    assert not state.exists()


def test_run_needs_gradients_and_a_state(cli, artifact: Path, arrays: Path) -> None:
    assert "Missing option '--gradients'" in cli("run", artifact, code=2).stderr
    assert "Missing option '--state'" in cli("run", artifact, "--gradients", arrays, code=2).stderr


def test_run_refuses_wrong_gradients(cli, artifact: Path, arrays: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "g.npz", w=np.zeros((8, 4)), b=np.zeros(4))
    common = ("--params", arrays, "--state", tmp_path / "s.safetensors")
    result = cli("run", artifact, "--gradients", tmp_path / "g.npz", *common, code=2)
    assert ".astype(np.float32)" in result.stderr


@pytest.mark.parametrize("name", ["g.npz", "g.safetensors"])
def test_run_refuses_damaged_arrays(cli, artifact: Path, tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"\x08nothing at all")
    common = ("--state", tmp_path / "s.safetensors")
    cli("run", artifact, "--gradients", tmp_path / name, *common, code=3)


def test_run_reports_nan_on_stderr(
    cli, compiled: Callable[..., Path], arrays: Path, tmp_path: Path
) -> None:
    counting = compiled(("--set", "nanlogger=true"))
    gradients = np.zeros((8, 4), np.float32)
    gradients[3] = np.nan
    np.savez(tmp_path / "g.npz", w=gradients, b=np.zeros(4, np.float32))
    common = ("--params", arrays, "--state", tmp_path / "s.safetensors")
    result = cli("run", counting, "--gradients", tmp_path / "g.npz", *common)
    assert "step 1: 4 non-finite values in the gradient of /w" in result.stderr


def test_bench_measures_a_file(cli, artifact: Path) -> None:
    found = json.loads(cli("bench", artifact, "--rounds", 1, "--json").stdout)
    assert [item["name"] for item in found][:2] == ["local-sync", "local-task"]
    assert all(0 < item["fastest"] <= item["median"] <= item["slowest"] for item in found)
    assert {item["elements"] for item in found} == {36}


def test_bench_compiles_for_sizes(cli) -> None:
    options = ("--optimizer", "sgd", "--size", 16, "--size", 33, "--device", "local-sync")
    found = json.loads(cli("bench", *options, "--rounds", 1, "--json").stdout)
    assert [item["elements"] for item in found] == [16, 33]


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--optimizer", "adamw"), "--optimizer says"),
        (("--size", 8), "--size says"),
        (("--target", "cpu", "--size", 8), "--size, --target say"),
    ],
)
def test_bench_of_a_file_compiles_nothing(
    cli, artifact: Path, options: tuple[object, ...], named: str
) -> None:
    result = cli("bench", artifact, *options, code=2)
    assert f"{named} what to compile" in result.stderr
    assert result.stdout == ""


class FusedAdamW:
    """What `bench` asks of torch."""

    __version__ = "9"
    optim = nn = property(lambda self: self)

    def from_numpy(self, value: np.ndarray) -> np.ndarray:
        return value

    def Parameter(self, value: np.ndarray) -> SimpleNamespace:
        return SimpleNamespace(value=value)

    def AdamW(self, parameters: object, fused: bool) -> FusedAdamW:
        assert fused
        return self

    def step(self) -> None:
        pass

    def get_num_threads(self) -> int:
        return 4

    def set_num_threads(self, count: int) -> None:
        assert count in (1, 4)


def test_bench_compares_with_torch(cli, artifact: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", FusedAdamW())
    monkeypatch.setattr(bench, "has_torch", lambda: True)
    options = ("--rounds", 1, "--device", "local-sync")
    found = json.loads(cli("bench", artifact, *options, "--json").stdout)
    torch = ("torch 9 fused AdamW, 4 threads", "torch 9 fused AdamW, 1 thread")
    assert [item["name"] for item in found] == ["local-sync", *torch]
    best = min(found[1]["median"], found[2]["median"])
    assert [item["torch_ratio"] for item in found] == [best / item["median"] for item in found]
    assert "torch / it" in cli("bench", artifact, *options).stdout


def test_bench_without_torch_compares_nothing(
    cli, artifact: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench, "has_torch", lambda: False)
    options = ("--rounds", 1, "--device", "local-sync")
    (found,) = json.loads(cli("bench", artifact, *options, "--json").stdout)
    assert found["torch_ratio"] is None
    assert "torch" not in cli("bench", artifact, *options).stdout
