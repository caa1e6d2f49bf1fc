"""Settings from the command line and from a recipe."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from stepforge.tools.errors import ToolError
from stepforge.tools.recipe import Recipe, combine, parse_settings, read_recipe, split_names

RECIPE = """
params = "model.safetensors"
exclude = ["*.running_mean"]
settable = "weight_decay"
target = ["cpu", "vulkan"]

[set]
learning_rate = 0.003
clip_nan = true
"""


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.toml"
    path.write_text(text)
    return path


def test_a_recipe_says_it_all(tmp_path: Path) -> None:
    assert read_recipe(write(tmp_path, RECIPE)) == Recipe(
        params=tmp_path / "model.safetensors",
        exclude=("*.running_mean",),
        settings={"learning_rate": 0.003, "clip_nan": True},
        settable=("weight_decay",),
        targets=("cpu", "vulkan"),
    )


def test_a_recipe_may_hold_the_parameters(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, '[params]\n"w/b" = "3xf32"'))
    assert recipe.params == {"w/b": "3xf32"}


def test_rules_are_settings_with_a_glob_in_order(tmp_path: Path) -> None:
    text = """
    settable = "*.bias:learning_rate"
    [rules."*.bias"]
    weight_decay = 0.0
    learning_rate = 0.1
    [rules."encoder/*"]
    weight_decay = 0.5
    frozen = true
    """
    recipe = read_recipe(write(tmp_path, text))
    assert list(recipe.settings.items()) == [
        ("*.bias:weight_decay", 0.0),
        ("*.bias:learning_rate", 0.1),
        ("encoder/*:weight_decay", 0.5),
        ("encoder/*:frozen", True),
    ]
    assert recipe.settable == ("*.bias:learning_rate",)
    over = combine(recipe, Recipe(settings=parse_settings(["*.bias:weight_decay=1", "a:b:c=2"])))
    assert list(over.settings)[2:] == ["encoder/*:frozen", "*.bias:weight_decay", "a:b:c"]


def test_what_is_set_again_stands_last() -> None:
    assert list(parse_settings(["*:a=1", "b*:a=2", "*:a=3"]).items()) == [("b*:a", 2), ("*:a", 3)]


def test_batch_sizes(tmp_path: Path) -> None:
    several = read_recipe(write(tmp_path, "batch = [1, 8]"))
    assert several.batch_sizes == (1, 8)
    assert read_recipe(write(tmp_path, "batch = 8")).batch_sizes == (8,)
    assert combine(several, Recipe()).batch_sizes == (1, 8)
    assert combine(several, Recipe(batch_sizes=(2,))).batch_sizes == (2,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("setable = ['x']", "did you mean 'settable'"),
        ("xyz = 1", "has no use for the key 'xyz'; it knows accumulate, after_update, batch"),
        ("set = 3", "set must be a table"),
        ("rules = 3", r"rules must be a table, \[rules\], of globs"),
        ("[rules]\n'*.b' = 3", r'a rule is a table of .*, \[rules."\*.b"\], got 3'),
        ("batch = '8'", r"batch must be numbers of rows, such as \[1, 8, 32\], got '8'"),
        ("batch = [8, true]", r"batch must be numbers of rows, .* got \[8, True\]"),
        ("model = 3", 'model must be a text, "model.py:function", got 3'),
        ("after_update = 3", 'after_update must be a text, "model.py:function", got 3'),
        ("target = [1]", "target must be a list of texts"),
        ("params = 3", "params must be a file name or a table"),
        ("= 3", "a recipe is TOML"),
        (f"batch = {'9' * 5000}", "a recipe is TOML"),
    ],
)
def test_what_a_recipe_refuses(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ToolError, match=message):
        read_recipe(write(tmp_path, text))


def test_the_command_line_wins() -> None:
    base = Recipe(params={"w": "3xf32"}, settings={"a": 1, "b": 2}, settable=("x",), targets=("y",))
    over = Recipe(settings={"b": 3}, settable=("z", "x"), targets=("cpu",))
    assert combine(base, over) == Recipe(
        params={"w": "3xf32"}, settings={"a": 1, "b": 3}, settable=("x", "z"), targets=("cpu",)
    )


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.01", 0.01),
        ("1e-3", 1e-3),
        ("3", 3),
        ("true", True),
        ("'float32'", "float32"),
        ("float32", "float32"),
        ("[0.9, 0.99]", [0.9, 0.99]),
    ],
)
def test_values_are_toml(text: str, value: Any) -> None:
    assert parse_settings([f"name={text}"]) == {"name": value}


@pytest.mark.parametrize(
    "text",
    [
        "name",
        "=3",
        "name=",
        "name=1.e",
        "name=1\nother=2",
        f"name={'9' * 5000}",
        "name=" + "[" * 5000,
    ],
    ids=lambda text: text[:12],
)
def test_a_wrong_assignment_is_refused(text: str) -> None:
    with pytest.raises(ToolError, match="--set"):
        parse_settings([text])


def test_names_are_split_at_commas() -> None:
    assert split_names(["a,b", " c "]) == ("a", "b", "c")
