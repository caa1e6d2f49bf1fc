"""Which package may load what, checked in a fresh interpreter for each."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Import the named modules and print what else came with them; `blocked` names are not importable.
PROBE = """
import importlib, json, sys
modules, blocked = json.loads(sys.argv[1])

class Block:
    def find_spec(self, name, path=None, target=None):
        if any(name == b or name.startswith(b + ".") for b in blocked):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

sys.meta_path.insert(0, Block())
for module in modules:
    importlib.import_module(module)
print(json.dumps(sorted(sys.modules)))
"""
COMPILER = ("iree.compiler", "sympy")
FRAMEWORKS = ("torch", "jax", "tensorflow")


def loaded_by(modules: Sequence[str], blocked: Sequence[str] = ()) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, json.dumps([list(modules), list(blocked)])],
        capture_output=True,
        text=True,
        cwd="/",
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def modules_of(package: str, without: Sequence[str] = ()) -> list[str]:
    names: list[str] = []
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[1] in without:
            continue
        names.append(".".join(("stepforge", *parts)).removesuffix(".__init__"))
    return names


def of_kind(loaded: Sequence[str], prefixes: Sequence[str]) -> list[str]:
    return [name for name in loaded if any(f"{name}.".startswith(f"{p}.") for p in prefixes)]


def test_the_runtime_needs_no_compiler_and_no_other_package() -> None:
    banned = (*COMPILER, *FRAMEWORKS, "click")
    others = ("stepforge.frontend", "stepforge.passes", "stepforge.tools")
    loaded_by(modules_of("runtime"), blocked=(*banned, *others))


def test_the_passes_import_no_other_package() -> None:
    others = ("stepforge.frontend", "stepforge.runtime", "stepforge.tools")
    loaded_by(modules_of("passes"), blocked=(*FRAMEWORKS, "iree.runtime", "click", *others))


def test_the_core_of_the_frontend_needs_numpy_alone() -> None:
    others = ("stepforge.passes", "stepforge.runtime", "stepforge.tools")
    core = modules_of("frontend", without=("emit", "build"))
    loaded_by(core, blocked=(*FRAMEWORKS, "iree", "safetensors", "click", *others))


def test_importing_the_frontend_loads_no_backend() -> None:
    loaded = loaded_by(["stepforge.frontend"])
    assert of_kind(loaded, ("iree", "stepforge.passes", "stepforge.runtime")) == []


def test_the_list_of_verbs_needs_no_backend() -> None:
    loaded = loaded_by(["stepforge.tools.cli"])
    assert of_kind(loaded, ("iree", "numpy", *FRAMEWORKS)) == []


def test_no_verb_needs_the_compiler_to_start() -> None:
    verbs = [name for name in modules_of("tools") if ".bench.contenders." not in name]
    loaded_by(verbs, blocked=(*COMPILER, *FRAMEWORKS))


def test_no_contender_needs_a_framework_to_be_imported() -> None:
    loaded_by([name for name in modules_of("tools") if ".bench.contenders." in name], FRAMEWORKS)


def imports_of(path: Path) -> list[str]:
    found: list[str] = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


@pytest.mark.parametrize(
    ("package", "prefix", "allowed"),
    [
        ("frontend", "iree", {"emit"}),
        ("frontend", "stepforge.passes", {"build"}),
        ("frontend", "stepforge.runtime", {"build"}),
        ("passes", "iree", {"bindings.py", "session.py", "build.py"}),
        ("tools", "iree", set[str]()),
    ],
)
def test_who_may_name_what(package: str, prefix: str, allowed: set[str]) -> None:
    users = {
        path.relative_to(ROOT / package).parts[0]
        for path in (ROOT / package).rglob("*.py")
        if of_kind(imports_of(path), (prefix,))
    }
    assert users <= allowed
