"""The verbs on an artifact of any length."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from stepforge.tools import reference, verification
from stepforge.tools.bounds import Accuracy

pytestmark = pytest.mark.compiler

PARAMETERS = {"w": np.ones((8, 4), np.float32), "b": np.full(4, 2, np.float32)}


@pytest.fixture(scope="module")
def free(cli, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("free") / "adamw.vmfb"
    cli("compile", "adamw", "--any-length", "-o", path, "--settable", "weight_decay")
    return path


def test_inspect_shows_the_pattern(cli, free: Path) -> None:
    rows = [line.split() for line in cli("inspect", free).stdout.splitlines()]
    assert ["parameters", "any"] in rows
    assert ["slot", "1st_moment", "AdamOptimizer/NAME_1st_moment", "float32"] in rows
    assert ["parameter", "NAME", "float32"] in rows
    assert [row[:3] for row in rows if row[:1] == ["@arena3"]] == [
        ["@arena3", "?xfloat32", "gradients,"]
    ]
    facts = json.loads(cli("inspect", free, "--json").stdout)
    assert facts["manifest"]["length"] == "any"


def test_verify_takes_steps_at_several_lengths(cli, free: Path) -> None:
    facts = json.loads(cli("verify", free, "--steps", 2, "--json").stdout)
    assert [verdict["device"] for verdict in facts["devices"]] == ["local-sync", "local-task"]
    assert verification.LENGTHS == (1, 15, 16, 1_000, 100_003)
    for verdict in facts["devices"]:
        assert verdict["passed"]
        kinds = {item["kind"]: item for item in verdict["deviations"]}
        assert kinds["parameter"]["elements"] == 2 * sum(verification.LENGTHS)
        assert 0 < kinds["slot 2nd_moment"]["of_bound"] <= 1
        assert kinds["counter"]["of_bound"] == 0


def test_verify_fails_past_the_bound(cli, free: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reference, "ACCURACY", {"local": Accuracy(arithmetic=0.01)})
    cli("verify", free, "--steps", 1, "--device", "local-sync", code=1)


def test_run_takes_the_parameters_of_a_file(cli, free: Path, tmp_path: Path) -> None:
    names = {"params": tmp_path / "p.npz", "gradients": tmp_path / "g.npz"}
    np.savez(names["params"], **PARAMETERS, ids=np.arange(3))
    np.savez(names["gradients"], **PARAMETERS)
    state = tmp_path / "run.safetensors"
    arguments = ("run", free, "--gradients", names["gradients"], "--state", state)
    cli(*arguments, "--params", names["params"], "--steps", 2)
    facts = json.loads(cli(*arguments, "--steps", 3, "--json").stdout)
    assert facts["global_step"] == 5
    saved = load_file(state)
    assert sorted(name for name in saved if name.startswith("params/")) == ["params/b", "params/w"]
    assert (saved["params/w"] < PARAMETERS["w"]).all()


def test_bench_measures_at_each_size(cli, free: Path) -> None:
    arguments = ("bench", free, "--device", "local-sync", "--rounds", 1, "--json")
    found = json.loads(cli(*arguments, "--size", 64, "--size", 100).stdout)
    assert [item["elements"] for item in found if item["name"] == "local-sync"] == [64, 100]
    assert "--target says what to compile" in cli(*arguments, "--target", "cpu", code=2).stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--params", "p.json"), "--params is of one model"),
        (("--exclude", "*.b"), "--include and --exclude is of one model"),
        (("--model", "m.py:f"), "--model is of one model"),
        (("--layout", "separate"), "--layout separate is of one model"),
        (("--set", "clip_global_norm=1.0"), "clip_global_norm cannot be in a step of any length"),
        (("--set", "*.b:weight_decay=0"), "no rules by glob"),
        (("--dtype", "int32"), "floating point"),
    ],
)
def test_what_it_cannot_be_is_refused(cli, options, said: str, tmp_path: Path) -> None:
    output = tmp_path / "out.vmfb"
    result = cli("compile", "adamw", "--any-length", *options, "-o", output, code=2)
    assert said in result.stderr
    assert not output.exists()


def test_a_dtype_alone_is_refused(cli, parameters: Path, tmp_path: Path) -> None:
    arguments = ("--params", parameters, "--dtype", "bfloat16", "-o", tmp_path / "out.vmfb")
    assert "--dtype belongs to --any-length" in cli("compile", "adam", *arguments, code=2).stderr
    assert "or --any-length" in cli("compile", "adam", code=2).stderr


def test_parameters_of_another_dtype(cli, tmp_path: Path) -> None:
    output = tmp_path / "half.vmfb"
    cli("compile", "adamw", "--any-length", "--dtype", "bfloat16", "-o", output)
    cli("verify", output, "--steps", 1, "--device", "local-sync")
