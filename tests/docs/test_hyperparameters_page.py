"""docs/hyperparameters.md: its programs run, and its command and its recipe say the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from docs import pages
from stepforge.runtime import read_artifact
from stepforge.tools.cli import load_verb

pytestmark = pytest.mark.compiler

PAGE = "hyperparameters.md"


def texts(language: str) -> list[str]:
    return [fence.text for fence in pages.fences(PAGE) if fence.language == language]


def test_the_page_runs() -> None:
    names: dict[str, Any] = {}
    for text in texts("python"):
        exec(text, names)


def test_its_command_and_its_recipe_make_the_same_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shapes = {"embed.weight": "8x4xf32", "head.weight": "4x2xf32", "head.bias": "2xf32"}
    Path("model.json").write_text(json.dumps(shapes))
    Path("recipe.toml").write_text(texts("toml")[0])
    (command,) = texts("sh")
    recipe = "compile-optimizer adamw --params model.json --config recipe.toml"
    groups: list[Any] = []
    for i, line in enumerate((command, recipe)):
        name, *options = line.split()
        assert name == "compile-optimizer"
        load_verb("compile").main([*options, "-o", f"{i}.vmfb"], standalone_mode=False)
        groups.append(read_artifact(f"{i}.vmfb").manifest.groups)
    assert groups[0] == groups[1]
    assert [group.variables for group in groups[0]] == [("/head.weight",), ("/head.bias",)]
