"""`compile-optimizer`: files, settings, and what is refused before anything is written."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from safetensors.numpy import save_file

from stepforge.runtime import HyperparameterError, load, read_artifact
from stepforge.tools.cli import load_verb

pytestmark = pytest.mark.compiler


def test_it_writes_an_artifact(artifact: Path) -> None:
    manifest = read_artifact(artifact).manifest
    assert [v.name for v in manifest.variables if v.role == "parameter"] == ["/w", "/b"]
    values = {h.name: h for group in manifest.groups for h in group.hyperparameters}
    assert values["adam_weight_decay"].settable
    assert values["adam_weight_decay"].value == 0.004
    assert not values["adam_beta1"].settable


def test_the_same_input_gives_the_same_bytes(cli, artifact: Path, parameters: Path) -> None:
    again = artifact.with_name("again.vmfb")
    cli("compile", "adamw", "--params", parameters, "-o", again, "--settable", "weight_decay")
    assert again.read_bytes() == artifact.read_bytes()


def test_several_targets_make_named_files(cli, parameters: Path, tmp_path: Path) -> None:
    targets = ("--target", "cpu:x86_64", "--target", "vmvx")
    result: Result = cli(
        "compile", "sgd", "--params", parameters, *targets, "-o", tmp_path / "out", "--json"
    )
    written = json.loads(result.stdout)
    assert [item["target"] for item in written] == ["cpu:x86_64", "vmvx"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "sgd.cpu-x86_64.vmfb",
        "sgd.vmvx.vmfb",
    ]
    assert all(Path(item["file"]).stat().st_size == item["bytes"] for item in written)


def test_nothing_is_written_when_one_target_fails(cli, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"w": "8xf16"}')
    targets = ("--target", "cpu", "--target", "vmvx")
    arguments = ("--params", tmp_path / "p.json", *targets, "-o", tmp_path / "out")
    result = cli("compile", "adam", *arguments, code=2)
    assert "target vmvx cannot hold float16" in result.stderr
    assert not (tmp_path / "out").exists()


def test_an_existing_file_is_kept(cli, artifact: Path, parameters: Path) -> None:
    before = artifact.read_bytes()
    result = cli("compile", "sgd", "--params", parameters, "-o", artifact, code=2)
    assert "exists; --force overwrites" in result.stderr
    assert artifact.read_bytes() == before


def test_force_overwrites(cli, parameters: Path, tmp_path: Path) -> None:
    (tmp_path / "a.vmfb").write_bytes(b"old")
    cli("compile", "sgd", "--params", parameters, "-o", tmp_path / "a.vmfb", "--force")
    assert read_artifact(tmp_path / "a.vmfb").manifest.formula.startswith("sgd")


def test_integer_tensors_are_listed_on_stderr(cli, tmp_path: Path) -> None:
    model = {"w": np.zeros((2, 3), np.float32), "position_ids": np.arange(3)}
    save_file(model, tmp_path / "m.safetensors")
    result: Result = cli(
        "compile", "sgd", "--params", tmp_path / "m.safetensors", "-o", tmp_path / "a.vmfb"
    )
    assert "left out position_ids (i64)" in result.stderr
    assert "position_ids" not in result.stdout
    assert list(read_artifact(tmp_path / "a.vmfb").manifest.functions[0].parameters) == ["/w"]


def test_a_recipe_says_the_same(cli, artifact: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "recipe.toml"
    recipe.write_text('settable = ["weight_decay"]\n[params]\nw = "8x4xf32"\nb = "4xf32"\n')
    cli("compile", "adamw", "--config", recipe, "-o", tmp_path / "a.vmfb")
    assert (tmp_path / "a.vmfb").read_bytes() == artifact.read_bytes()


def test_settings_are_baked(cli, parameters: Path, tmp_path: Path) -> None:
    options = ("--set", "learning_rate=0.5", "--set", "clip_nan=true", "--set", "adam_beta1=0.5")
    cli("compile", "adam", "--params", parameters, "-o", tmp_path / "a.vmfb", *options)
    (group,) = read_artifact(tmp_path / "a.vmfb").manifest.groups
    values = {h.name: h.value for h in group.hyperparameters}
    assert values["learning_rate"] == 0.5
    assert values["clip_nan"] is True
    assert values["adam_beta1"] == 0.5


def test_rules_make_groups_that_inspect_names_and_that_are_set_by_label(
    cli, artifact: Path, tmp_path: Path
) -> None:
    recipe, output = tmp_path / "recipe.toml", tmp_path / "a.vmfb"
    recipe.write_text(
        'settable = "weight_decay"\n[params]\nw = "8x4xf32"\nb = "4xf32"\nc = "4xf32"\n'
        'd = "4xf32"\n[rules."*"]\nweight_decay = 0.5\n[rules."[bc]"]\nweight_decay = 0.25\n'
    )
    options = ("--set", "[b-c]:weight_decay=0", "--set", "d:frozen=true", "--set", "?:adam_beta1=0")
    asked = ("--settable", "*:weight_decay,[b-c]:learning_rate")
    result = cli("compile", "adamw", "--config", recipe, "-o", output, *options, *asked)
    assert "does not use" not in result.stderr
    manifest = read_artifact(output).manifest
    assert manifest.functions[0].parameters == ("/w", "/b", "/c")
    wide, narrow = ({h.name: h for h in g.hyperparameters} for g in manifest.groups)
    assert (wide["*:adam_weight_decay"].value, wide["*:adam_weight_decay"].settable) == (0.5, True)
    assert (narrow["[b-c]:adam_weight_decay"].value, narrow["?:adam_beta1"].value) == (0.0, 0.0)
    assert (narrow["[b-c]:learning_rate"].value, narrow["[b-c]:learning_rate"].settable) == (
        0.001,
        True,
    )
    text = cli("inspect", output).stdout
    assert "hyperparameters of 1 parameter in step " in text
    assert "\nof w\n" in text
    assert "\nof b, c\n" in text
    assert "\nof " not in cli("inspect", artifact).stdout
    with load(output) as step:
        zeros = {"w": np.zeros((8, 4), np.float32), "b": np.zeros(4, np.float32)}
        step.initialize({**zeros, "c": zeros["b"]})
        step.hyperparameters["[b-c]:learning_rate"] = 0.5
        step.hyperparameters["*:weight_decay"] = 0.75
        assert step.hyperparameters["[b-c]:weight_decay"] == 0.0
        step.step({name: np.ones_like(x) for name, x in (*zeros.items(), ("c", zeros["b"]))})
        # Adam's first step is the rate, whatever the gradient: epsilon is 1e-7 of it.
        assert step.parameters["b"][0] == pytest.approx(-0.5, rel=1e-6)
        assert step.parameters["w"][0, 0] == pytest.approx(-0.001, rel=1e-6)
        message = r"compile again with --settable '\[b-c\]:adam_weight_decay'"
        with pytest.raises(HyperparameterError, match=message):
            step.hyperparameters["[b-c]:weight_decay"] = 0.1
        with pytest.raises(HyperparameterError, match=r"did you mean .*'\*:weight_decay'"):
            step.hyperparameters["*:weight_dcay"] = 0.1
    cli("verify", output)


def test_the_compiler_in_its_own_process_writes_the_same(
    cli, artifact: Path, parameters: Path, tmp_path: Path
) -> None:
    options = ("--settable", "weight_decay", "--isolate", "--timeout", 600)
    cli("compile", "adamw", "--params", parameters, "-o", tmp_path / "a.vmfb", *options)
    assert (tmp_path / "a.vmfb").read_bytes() == artifact.read_bytes()


def test_a_late_compiler_is_a_failed_check(cli, parameters: Path, tmp_path: Path) -> None:
    options = ("-o", tmp_path / "a.vmfb", "--isolate", "--timeout", 0.01)
    result = cli("compile", "adamw", "--params", parameters, *options, code=1)
    assert "took longer than 0.01 seconds" in result.stderr
    assert not (tmp_path / "a.vmfb").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--timeout", "5"), "--timeout 5 without --isolate"),
        (("--isolate", "--timeout", "0"), "is not in the range x>0"),
        (("--set", "epsilon=1e-8"), "did you mean 'adam_epsilon'"),
        (("--settable", "epsilon"), "did you mean 'adam_epsilon'"),
        (("--set", "adam_beta1=1.5"), "a number of at least 0 and below 1"),
        (("--set", "optimizer=sgd"), "the optimizer is the first argument"),
        (("--set", "learning_rate"), "--set takes NAME=VALUE"),
        (("--set", "*.b:wd=0"), "did you mean 'adam_weight_decay'"),
        (("--set", ":weight_decay=0"), "a rule is for a glob of names"),
        (("--set", "*.b:weight_decay=0"), "the rule '*.b' matches no parameter"),
        (("--set", "b:frozen=1"), "True or False"),
        (("--set", "b:adam_dtype=float64"), "set it for all: without a glob"),
        (("--settable", "b:frozen"), "adamw does not read b:frozen here"),
        (("--settable", "b:clip_nan"), "adamw does not read b:clip_nan here"),
        (("--settable", "clip_nan"), "True or False"),
        (("--target", "adreno"), "did you mean vulkan:adreno"),
        (("--target", "cpu", "--target", "cpu"), "each target once"),
        (("--exclude", "*.bias"), "matches none of the 2"),
        (("--loss-dtype", "int32"), "a loss has a float dtype"),
    ],
)
def test_wrong_use(
    cli, parameters: Path, tmp_path: Path, options: tuple[str, ...], message: str
) -> None:
    target = tmp_path / "a.vmfb"
    result = cli("compile", "adamw", "--params", parameters, "-o", target, *options, code=2)
    assert message in result.stderr
    assert not target.exists()


@pytest.mark.parametrize(
    ("optimizer", "options", "message"),
    [
        (
            "sgd",
            ("weight_decay",),
            "sgd does not read adam_weight_decay here; expected clip_global_norm",
        ),
        ("sgd", ("adam_beta1",), "clip_step_by_value, ema_decay, learning_rate, loss_scale"),
        ("rmsprop", ("adam_beta2,adam_beta1",), "rmsprop does not read adam_beta1 here"),
        ("adam", ("cosine_schedule_min_learning_rate",), "--set cosine_schedule_steps=N"),
        ("adam", ("train_last_global_step",), "does not read train_last_global_step"),
        ("adam", ("train_last_global_step", "--set", "cosine_schedule_steps=9"), "does not read"),
        ("adam", ("nanlogger",), "adam does not read nanlogger"),
        ("adam", ("skip_nonfinite",), "got: False (Settable)"),
    ],
)
def test_a_settable_that_is_not_read_is_wrong_use(
    cli, parameters: Path, tmp_path: Path, optimizer: str, options: tuple[str, ...], message: str
) -> None:
    output = tmp_path / "a.vmfb"
    command = ("compile", optimizer, "--params", parameters, "-o", output, "--settable", *options)
    result = cli(*command, code=2)
    assert message in result.stderr
    assert not output.exists()


def test_a_schedule_has_settables_of_its_own(cli, parameters: Path, tmp_path: Path) -> None:
    asked = "cosine_schedule_learning_rate,train_last_global_step,clip_step_by_value"
    options = ("--set", "cosine_schedule_cycles=2", "--settable", asked)
    cli("compile", "adam", "--params", parameters, "-o", tmp_path / "a.vmfb", *options)
    (group,) = read_artifact(tmp_path / "a.vmfb").manifest.groups
    settable = {h.name: h.value for h in group.hyperparameters if h.settable}
    assert settable.keys() == set(asked.split(","))
    assert settable["cosine_schedule_learning_rate"] == 0.001


def test_what_every_optimizer_takes_is_set_and_settable(
    cli, parameters: Path, tmp_path: Path
) -> None:
    options = ("--set", "clip_global_norm=1.5", "--set", "skip_nonfinite=true", "--settable")
    asked = "clip_global_norm,loss_scale"
    cli("compile", "sgd", "--params", parameters, "-o", tmp_path / "a.vmfb", *options, asked)
    (group,) = read_artifact(tmp_path / "a.vmfb").manifest.groups
    found = {h.name: (h.value, h.settable) for h in group.hyperparameters}
    assert found["clip_global_norm"] == (1.5, True)
    assert found["loss_scale"] == (1.0, True)
    assert found["skip_nonfinite"] == (True, False)


def test_notes_go_to_stderr(cli, parameters: Path, tmp_path: Path) -> None:
    options = ("--set", "adam_beta1=0.5", "-o", tmp_path / "a.vmfb", "--json")
    result = cli("compile", "sgd", "--params", parameters, *options)
    assert "sgd does not use adam_beta1" in result.stderr
    assert "is portable" in result.stderr
    (written,) = json.loads(result.stdout)
    assert (written["runs"], written["why"]) == (True, "")


def test_parameters_are_needed(cli) -> None:
    assert "give --params FILE" in cli("compile", "sgd", "-o", "x.vmfb", code=2).stderr


def test_a_missing_file_is_wrong_use(cli, tmp_path: Path) -> None:
    result = cli("compile", "sgd", "--params", tmp_path / "no.npz", code=2)
    assert "No such file" in result.stderr


def test_a_damaged_file_is_corrupt_input(cli, tmp_path: Path) -> None:
    (tmp_path / "m.npz").write_bytes(b"nothing")
    cli("compile", "sgd", "--params", tmp_path / "m.npz", code=3)


def test_every_stage_is_dumped(cli, parameters: Path, tmp_path: Path) -> None:
    cli(
        "compile", "sgd", "--params", parameters, "-o", tmp_path / "a.vmfb",
        "--dump-ir", tmp_path / "ir",
    )  # fmt: skip
    assert len(list((tmp_path / "ir").rglob("*.mlir"))) > 3


def test_the_help_says_what_runs_here(cli) -> None:
    text = " ".join(cli("compile", "--help").stdout.split())
    assert "adam_weight_decay, weight_decay" in text
    assert "vmvx" in text
    assert "runs here" in text


WITHOUT_COMPILER = """
import sys

class Block:
    def find_spec(self, name, path=None, target=None):
        if name == "iree.compiler" or name.startswith("iree.compiler."):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
from stepforge.tools.cli import main
main()
"""


@pytest.mark.parametrize("verb", [("compile", "sgd", "--params"), ("targets",)])
def test_without_the_compiler_it_names_the_extra(parameters: Path, verb: tuple[str, ...]) -> None:
    arguments = [*verb, str(parameters)] if verb[-1] == "--params" else list(verb)
    command = [sys.executable, "-c", WITHOUT_COMPILER, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 2, done.stderr
    assert "pip install 'stepforge[compiler]'" in done.stderr
    assert "Traceback" not in done.stderr


def test_compile_optimizer_is_the_same_command() -> None:
    assert load_verb("compile").name == "compile"
