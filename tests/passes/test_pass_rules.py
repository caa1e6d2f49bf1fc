"""The framework: what a pass must be, and what the pipeline does with passes."""

from __future__ import annotations

import importlib
from dataclasses import FrozenInstanceError
from pathlib import Path
from typing import Any

import pytest

from stepforge.passes import PIPELINE, PassError, bindings, pass_base, run_pipeline
from stepforge.passes.alias_state import AliasState
from stepforge.passes.errors import MalformedModuleError
from stepforge.passes.pass_base import Pass
from support.adamw_module import adamw

pytestmark = pytest.mark.compiler

LOGICAL = sorted((Path(__file__).parent / "logical").glob("*.mlir"))
NAMES = [step.name for step in PIPELINE]


def after(text: str, **options: Any) -> str:
    module = bindings.parse(text)
    run_pipeline(module, **options)
    return str(module)


@pytest.mark.parametrize("step", PIPELINE, ids=lambda step: step.name)
def test_a_pass_is_named_like_its_module_and_frozen(step: Pass) -> None:
    module = importlib.import_module(type(step).__module__)
    assert module.__name__ == f"stepforge.passes.{step.name.replace('-', '_')}"
    with pytest.raises((FrozenInstanceError, AttributeError, TypeError)):
        step.extra = 1  # pyright: ignore[reportAttributeAccessIssue]


def test_a_pass_with_another_name_is_refused() -> None:
    with pytest.raises(TypeError, match="must be 'test-pass-rules', the name of its module"):
        type("Other", (Pass,), {"name": "other", "__module__": "tests.test_pass_rules"})


def test_a_pass_that_is_not_a_dataclass_is_refused() -> None:
    methods = {"run": lambda self, module: None, "check": lambda self, module: None}
    attributes = {"name": "bare", "__module__": "bare", **methods}
    bare: Any = type("Bare", (Pass,), attributes)
    with pytest.raises(TypeError, match="must be a frozen dataclass"):
        pass_base.apply(bare(), bindings.parse("func.func @f() { return }"))


def test_errors_say_which_pass_they_come_from() -> None:
    text = "func.func @f(%a: tensor<2xf32> {stepforge.result = 3 : index}) { return }"
    with pytest.raises(PassError, match=r"^alias-state: argument 0 is replaced by result 3"):
        pass_base.apply(AliasState(), bindings.parse(text))


def test_text_that_is_not_mlir_is_refused_with_its_place() -> None:
    with pytest.raises(MalformedModuleError, match="1:"):
        bindings.parse("func.func @f(")


@pytest.mark.parametrize("path", LOGICAL, ids=lambda path: path.stem)
def test_the_same_module_gives_the_same_text(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert after(text) == after(text)


def test_the_pipeline_stops_where_it_is_told() -> None:
    text = adamw([(4, 2)])
    assert "linalg.generic" not in after(text, stop_after="fold-hyperparameters")
    assert after(text, stop_after="fuse-step-math").count("linalg.generic") == 1
    with pytest.raises(PassError, match="no pass is named 'fuse'; the passes are fold-hyper"):
        after(text, stop_after="fuse")


def test_the_module_is_dumped_before_the_first_and_after_each_pass(tmp_path: Path) -> None:
    final = after(adamw([(4, 2)]), dump_ir=tmp_path / "ir")
    files = sorted(path.name for path in (tmp_path / "ir").iterdir())
    expected = ["logical", *NAMES]
    assert files == [f"{number:02d}-{name}.mlir" for number, name in enumerate(expected)]
    assert (tmp_path / "ir" / files[-1]).read_text(encoding="utf-8") == f"{final}\n"


def test_the_plain_module_differs_in_the_output_attributes_alone() -> None:
    text = adamw([(4, 2), (3,)])
    in_place = after(text, stop_after="alias-state")
    plain = after(text, in_place=False, stop_after="alias-state")
    assert "iree.abi.output" not in plain
    for index in range(6):
        in_place = in_place.replace(f"iree.abi.output = {index} : index, ", "")
    assert in_place == plain


def test_one_loop_per_variable_comes_out_of_one_operation_per_formula() -> None:
    text = adamw([(4, 2), (3,), ()])
    assert "linalg.generic" not in text
    output = after(text, stop_after="fuse-step-math")
    assert output.count("linalg.generic") == 3
    for name in ("linalg.broadcast", "tensor.from_elements", "tensor.extract"):
        assert name not in output
