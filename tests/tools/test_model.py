"""`compile-optimizer --model`: a training step from a function in a file."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from stepforge import runtime
from stepforge.tools.errors import ToolError
from stepforge.tools.model import load_function, parse_batch_sizes, parse_inputs

MODEL = """
from scale import SCALE
from stepforge.frontend import TrainOutputs, initializers, ops


def loss(ctx, x, y):
    w = ctx.variable("w", (4, 3), initializer=initializers.he_normal(seed=1))
    p = ops.matmul(x, w.value_graph(x.graph)) * SCALE
    d = p - y
    return TrainOutputs(loss=ops.reduce_mean(d * d), predictions={"p": p})


def tied(ctx, x, y):
    w = ctx.variable("w", (4, 3), initializer=initializers.ones())
    p = ops.reshape(ops.matmul(x, w.value_graph(x.graph)), (8, 1, 3))
    d = ops.reduce_max(ops.concatenate([p, p], 1), (1,)) - y
    return ops.reduce_mean(d * d)


def clamp(ctx, graph):
    w = ctx.get_variable("w")
    w.set_value_graph(ops.maximum(w.value_graph(graph), 1.0))


ANSWER = 42
"""


@pytest.fixture
def model(tmp_path: Path) -> Path:
    (tmp_path / "scale.py").write_text("SCALE = 2.0\n")
    path = tmp_path / "model.py"
    path.write_text(MODEL)
    return path


@pytest.mark.compiler
def test_a_model_becomes_an_artifact_that_trains(cli, model: Path, tmp_path: Path) -> None:
    made = tmp_path / "train.vmfb"
    cli(
        *("compile", "adamw", "--model", f"{model}:loss", "--input", "x=8x4xf32"),
        *("--input", "y=8x3xf32", "--accumulate", "2", "--set", "learning_rate=0.1", "-o", made),
    )
    with runtime.load(made) as step:
        step.initialize()
        assert step.functions == ("train_step", "accumulate", "evaluate", "predict")
        assert step.learning_rate == pytest.approx(0.1)
        x, y = np.ones((8, 4), np.float32), np.ones((8, 3), np.float32)
        losses = [step.train_step(x=x, y=y)["loss"] for _ in range(20)]
        assert losses[0] == losses[1] > losses[2] == losses[3] > losses[-1]
    shown = cli("inspect", made).stdout
    assert "cost of train_step" in shown
    assert "FLOP" in shown
    rows = [line.split() for line in shown.splitlines()]
    assert ["x", "8x4xfloat32", "train_step,", "accumulate,", "evaluate,", "predict"] in rows
    assert ["y", "8x3xfloat32", "train_step,", "accumulate,", "evaluate"] in rows
    (timed,) = json.loads(
        cli("bench", made, "--device", "local-sync", "--rounds", 1, "--json").stdout
    )
    assert (timed["name"], timed["elements"], timed["torch_ratio"]) == ("local-sync", 12, None)
    assert timed["median"] > 0
    assert "Trainer, time it with `stepforge bench`" in cli("run", made, code=2).stderr
    assert json.loads(cli("inspect", made, "--json").stdout)["manifest"]["facts"]


@pytest.mark.compiler
def test_a_model_for_several_batch_sizes(cli, model: Path, tmp_path: Path) -> None:
    made = tmp_path / "train.vmfb"
    inputs = ("--input", "x=?x4xf32", "--input", "y=?x3xf32", "--batch", "8, 1", "--batch", "3")
    cli("compile", "adamw", "--model", f"{model}:loss", *inputs, "-o", made)
    with runtime.load(made) as step:
        step.initialize()
        assert step.batch_sizes == (1, 3, 8)
        assert step.predict(x=np.ones((3, 4), np.float32))["p"].shape == (3, 3)
    rows = [line.split() for line in cli("inspect", made).stdout.splitlines()]
    assert ["batch", "sizes", "1,", "3,", "8"] in rows
    assert json.loads(cli("inspect", made, "--json").stdout)["batch_sizes"] == [1, 3, 8]
    assert ["x", "?x4xfloat32", "train_step,", "evaluate,", "predict"] in rows
    assert ["y", "?x3xfloat32", "train_step,", "evaluate"] in rows
    options = ("--device", "local-sync", "--steps", "2", "--json")
    for function, count in {"train_step_b3": 1, "evaluate_b1": 1, "predict_b3": 9}.items():
        shown = json.loads(cli("verify", made, "--function", function, *options).stdout)
        kinds = {x["kind"]: x["elements"] for x in shown["devices"][0]["deviations"]}
        assert kinds["output"] == 2 * count
        assert ("parameter" in kinds) == (function == "train_step_b3")
    found = json.loads(cli("bench", made, *options[:2], "--rounds", 1, "--json").stdout)
    names = [f"local-sync, {x}" for x in ("largest batches", "batches of 1", "batches of 3")]
    assert sorted(x["name"] for x in found) == sorted(names)


@pytest.mark.compiler
def test_a_recipe_may_name_the_model(cli, model: Path, tmp_path: Path) -> None:
    recipe = model.with_name("recipe.toml")
    functions = 'model = "model.py:tied"\nafter_update = "model.py:clamp"\n'
    recipe.write_text(f'{functions}[input]\nx = "8x4xf32"\ny = "8x3xf32"\n')
    made = tmp_path / "made.vmfb"
    cli("compile", "sgd", "--config", recipe, "-o", made)
    with runtime.load(made) as step:
        assert step.functions == ("train_step", "evaluate")
        step.initialize()
        step.train_step(x=np.eye(8, 4, dtype=np.float32), y=np.zeros((8, 3), np.float32))
        assert (step.parameters["w"] == 1.0).all(), "without after_update it would be smaller"
        step.train_step(x=np.eye(8, 4, dtype=np.float32), y=np.full((8, 3), 2, np.float32))
        assert (step.parameters["w"] > 1.0).all()
    options = ("--device", "local-sync", "--steps", "2")
    shown = cli("verify", made, *options).stdout
    assert "not judged: 24 of the 24 of parameter, which have no finite bound" in shown
    assert "of output" not in shown


REFUSED = {
    ("--model", "{model}:loss"): "needs inputs: give --input NAME=SHAPExDTYPE",
    ("--model", "{model}:loss", "--input", "x"): "takes NAME=SHAPExDTYPE, such as x=32x64xf32",
    ("--model", "{model}:lost", "--input", "x=4xf32"): "has no function 'lost'; it has loss, tied",
    ("--model", "{model}:ANSWER", "--input", "x=4xf32"): "has no function 'ANSWER'",
    ("--model", "{model}", "--input", "x=4xf32"): "takes FILE.py:FUNCTION",
    ("--model", "no.py:loss", "--input", "x=4xf32"): "there is no file no.py",
    ("--model", "no.such:loss", "--input", "x=4xf32"): "does not run: ModuleNotFoundError",
    ("--model", "{model}:loss", "--params", "p.npz"): "--params belongs to parameters without",
    ("--model", "{model}:loss", "--phases"): "--phases belongs to parameters without a model",
    ("--params", "{model}", "--input", "x=4xf32"): "--input belongs to a model (--model)",
    ("--params", "{model}", "--batch", "2"): "--batch belongs to a model (--model)",
    ("--model", "{model}:loss", "--input", "x=?x4xf32"): "needs the sizes that the artifact is to",
    ("--model", "{model}:loss", "--input", "x=4x4xf32", "--batch", "2"): "are for inputs with an",
    ("--model", "{model}:loss", "--input", "x=?x4xf32", "--batch", "2,"): "takes numbers of rows",
    ("--params", "{model}", "--after-update", "m.py:f"): "--after-update belongs to a model",
    (
        *("--model", "{model}:loss", "--input", "x=4xf32"),
        *("--after-update", "{model}:no"),
    ): "--after-update {model}:no: {model} has no function 'no'; it has loss, tied, clamp",
    ("--params", "{model}", "--accumulate", "2"): "--accumulate belongs to a model (--model)",
}


@pytest.mark.parametrize("options", REFUSED)
def test_wrong_use_is_explained(cli, model: Path, options: tuple[str, ...]) -> None:
    given = [option.format(model=model) for option in options]
    result = cli("compile", "adam", *given, code=2)
    assert REFUSED[options].format(model=model) in result.stderr


def test_what_the_model_raises_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.py"
    path.write_text("x = 1\nx.nothing\n")
    with pytest.raises(ToolError, match=r"AttributeError: .*line 2 of broken\.py"):
        load_function(f"{path}:loss")


def test_batch_sizes_are_numbers() -> None:
    assert parse_batch_sizes(["1,8", " 32 "]) == (1, 8, 32)
    assert parse_batch_sizes([]) == ()


def test_inputs_are_names_and_specs() -> None:
    assert parse_inputs(["x=8x4xf32", " y = 8xi32 "]) == {"x": "8x4xf32", "y": "8xi32"}


@pytest.mark.compiler
@pytest.mark.parametrize("function", ["train_step", "accumulate", "evaluate", "predict"])
def test_training_is_verified_function_by_function(
    cli, model: Path, tmp_path: Path, function: str
) -> None:
    made = tmp_path.parent / "verified.vmfb"
    if not made.exists():
        cli(
            *("compile", "adam", "--model", f"{model}:loss", "--input", "x=8x4xf32"),
            *("--input", "y=8x3xf32", "--accumulate", "3", "-o", made),
        )
    options = ("--device", "local-sync", "--steps", "3", "--json")
    shown = json.loads(cli("verify", made, "--function", function, *options).stdout)
    kinds = {x["kind"]: x["elements"] for x in shown["devices"][0]["deviations"]}
    assert kinds["output"] == 3 * {"predict": 24}.get(function, 1)
    assert ("parameter" in kinds) == (function == "train_step")
    assert ("buffer" in kinds) == (function in ("train_step", "accumulate"))
