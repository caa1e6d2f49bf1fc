"""Load an example as a module of its own."""

from __future__ import annotations

import ast
import importlib.util
import sys
from functools import cache
from pathlib import Path
from types import ModuleType

from stepforge.frontend.build.artifact import Artifact

EXAMPLES = Path(__file__).parents[2] / "examples"


def load_example(name: str) -> ModuleType:
    """A fresh module of `examples/<name>.py`: what a test sets in it stays there."""
    specification = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


@cache
def transformer_artifact(target: str = "cpu") -> Artifact:
    """`char_transformer.py` as it is, compiled once per process."""
    return load_example("char_transformer").compile_for(target)


def needed_imports(name: str) -> set[str]:
    """What an example imports when it is run, beside the standard library: packages, and of
    stepforge the packages in it. What stands in functions or under TYPE_CHECKING is not.
    """
    found: set[str] = set()
    for node in ast.parse((EXAMPLES / f"{name}.py").read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module == "stepforge":
            found |= {f"stepforge.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return {
        name if name.startswith("stepforge.") else name.split(".")[0]
        for name in found
        if name.split(".")[0] not in sys.stdlib_module_names
    }
