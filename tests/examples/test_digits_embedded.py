"""The digits example: its data, its gradients, what it imports, and that it learns."""

import ast
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from stepforge import frontend

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits_embedded.py"


@pytest.fixture(scope="module")
def example() -> ModuleType:
    specification = importlib.util.spec_from_file_location("digits_embedded", EXAMPLE)
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module  # dataclasses look their module up
    specification.loader.exec_module(module)
    return module


def test_it_imports_numpy_the_runtime_and_the_standard_library() -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "numpy.typing"}
    for node in ast.walk(ast.parse(EXAMPLE.read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        if isinstance(node, ast.ImportFrom) and node.module == "stepforge":
            assert [alias.name for alias in node.names] == ["runtime"]
        elif isinstance(node, ast.ImportFrom):
            assert node.module in allowed or (node.module or "").split(".")[0] in allowed


def test_a_fifth_is_held_out(example: ModuleType) -> None:
    digits = example.read_digits()
    assert (len(digits.labels), len(digits.held_out_labels)) == (1_438, 359)
    assert digits.images.dtype == np.float32
    assert set(digits.labels) == set(range(10))
    assert np.abs(digits.images.mean(axis=0)).max() < 1e-5


def test_gradients_are_those_of_the_mean_cross_entropy(example: ModuleType) -> None:
    digits = example.read_digits()
    generator = np.random.default_rng(1)
    parameters = {
        "weights": generator.normal(0.0, 0.1, (64, 10)),
        "bias": generator.normal(0.0, 0.1, 10),
    }
    gradients = example.softmax_gradients(parameters, digits)
    direction = {name: generator.normal(size=p.shape) for name, p in parameters.items()}

    def loss(distance: float) -> float:
        weights, bias = (parameters[n] + distance * direction[n] for n in ("weights", "bias"))
        scores = digits.images.astype(np.float64) @ weights + bias
        total = np.log(np.exp(scores).sum(axis=1))
        return float((total - scores[np.arange(len(scores)), digits.labels]).mean())

    slope = (loss(1e-5) - loss(-1e-5)) / 2e-5
    along = sum(float((gradients[n] * direction[n]).sum()) for n in direction)
    assert along == pytest.approx(slope, rel=1e-6)


@pytest.mark.compiler
def test_two_artifacts_learn_to_read(
    example: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    parameters = {"weights": (64, 10), "bias": (10,)}
    paths = [tmp_path / f"adamw.{target}.vmfb" for target in ("cpu", "vmvx")]
    for path in paths:
        target = path.name.split(".")[1]
        frontend.compile_optimizer(frontend.AdamW(), parameters, target=target, output=path)
    run = tmp_path / "run.npz"
    assert example.main([*map(str, paths), "--record", str(run)]) == 0
    with np.load(run) as data:
        steps = int(data["steps"])
        reference = {name: data[f"final/{name}"] for name in parameters}
    np.savez(tmp_path / "reference.npz", steps=steps, **reference)
    example.main([str(paths[0]), "--reference", str(tmp_path / "reference.npz")])
    printed = capsys.readouterr().out
    assert printed.count("of held-out digits") == 3
    assert printed.count("largest difference from") == 2
    assert "reference.npz: 0" in printed
