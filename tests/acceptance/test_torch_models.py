"""The examples' models against torch: 20 steps from the same weights, on the same batches.

`models.npz` has torch's losses, gradients and last parameters, all in float64. The evaluator in
float64 judges what the frontend means; the compiled step in float32, what it becomes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from oracles.model_cases import (
    FILE,
    HEADS,
    LAYERS,
    MODELS,
    STEPS,
    VOCABULARY,
    WIDTH,
    Model,
    summary,
)
from stepforge.frontend import (
    Context,
    Node,
    StochasticGradientDescent,
    TrainOutputs,
    compile_train_step,
    gradient,
    train_program,
)
from stepforge.frontend.reference import ReferenceStep
from support.example import load_example

EXACT = 1e-10
"""float64 in another order of the sums: 1e-14 is what it is."""
ROUNDED = 1e-5
"""float32, see `test_the_compiled_step_does_what_torch_does`."""

GRADIENT = "gradient:"

Array = NDArray[Any]
LossFunction = Callable[..., Any]


@dataclass(frozen=True, slots=True)
class Found:
    """Of each step the loss and the gradients, and the last parameters."""

    losses: list[float]
    gradients: list[dict[str, Array]]
    final: dict[str, Array]


def model_loss(model: Model) -> LossFunction:
    """The example's, at the size that torch trained."""
    if model.name != "transformer":
        return load_example(f"digits_{model.name}").loss
    example = load_example("char_transformer")
    sizes = {"LAYERS": LAYERS, "HEADS": HEADS, "WIDTH": WIDTH, "VOCABULARY": "x" * VOCABULARY}
    for name, size in sizes.items():
        assert hasattr(example, name)
        setattr(example, name, size)
    return example.loss


def with_gradients(model: Model) -> LossFunction:
    """The same loss; a step that trains also reports the gradients, as metrics by path."""
    loss = model_loss(model)

    def function(ctx: Context, **inputs: Node) -> TrainOutputs:
        made: TrainOutputs = loss(ctx, **inputs)
        assert isinstance(made, TrainOutputs)
        metrics: Mapping[str, Node] = {}
        graph = made.loss.graph
        if ctx.is_training(graph):
            variables = ctx.trainable_variables()
            slopes = gradient(made.loss, [v.value_graph(graph) for v in variables])
            metrics = {GRADIENT + v.path: slope for v, slope in zip(variables, slopes, strict=True)}
        return replace(made, metrics=metrics, predictions={})

    return function


def optimizer(model: Model) -> StochasticGradientDescent:
    return StochasticGradientDescent(learning_rate=model.rate, decay=False)


def evaluated(model: Model) -> Found:
    program = train_program(with_gradients(model), Context(), optimizer(model), inputs=model.inputs)
    step = ReferenceStep(program, "float64")
    step.initialize(model.initial())
    found = [step.step(batch, "train_step") for batch in model.batches()]
    return collected(found, {path: step.variables[path] for path in model.shapes})


def compiled(model: Model, target: str) -> Found:
    made = compile_train_step(
        with_gradients(model), optimizer(model), inputs=model.inputs, target=target
    )
    with made.load() as step:
        step.initialize({path: x.astype(np.float32) for path, x in model.initial().items()})
        found = [step.train_step(**batch) for batch in model.batches()]
        return collected(found, {path: step.variables[path] for path in model.shapes})


def collected(steps: list[dict[str, Any]], final: dict[str, Array]) -> Found:
    gradients = [
        {k.removeprefix(GRADIENT): wide(v) for k, v in x.items() if k.startswith(GRADIENT)}
        for x in steps
    ]
    return Found([float(x["loss"]) for x in steps], gradients, final)


def wide(value: Any) -> Array:
    return np.asarray(value, np.float64)


def by_torch(model: Model) -> dict[str, Array]:
    prefix = f"{model.name}/"
    with np.load(FILE) as data:
        return {k.removeprefix(prefix): data[k] for k in data.files if k.startswith(prefix)}


def compare(model: Model, found: Found, tolerance: float) -> None:
    """Losses relative to themselves; tensors relative to their norms.

    A gradient that is 0 but for rounding (a softmax does not see the bias of the keys) has no size
    of its own: no tensor is judged by less than a hundredth of the norm of all gradients together.
    """
    torch = by_torch(model)
    np.testing.assert_allclose(found.losses, torch["losses"], rtol=tolerance)
    for t, gradients in enumerate(found.gradients):
        norms = torch["gradients/norms"][t]
        scale = np.maximum(norms, 1e-2 * np.sqrt(np.square(norms).sum()))
        expected = {key: torch[f"gradients/{key}"][t] for key in ("norms", "projections")}
        if t in (0, STEPS - 1):
            expected["samples"] = torch["gradients/samples"][0 if t == 0 else 1]
        check(model, gradients, expected, scale, tolerance, f"gradient of step {t + 1}")
    norms = torch["final/norms"]
    expected = {key: torch[f"final/{key}"] for key in ("norms", "projections", "samples")}
    check(model, found.final, expected, norms, tolerance, "last parameters")


def check(
    model: Model,
    values: Mapping[str, Array],
    expected: Mapping[str, Array],
    scale: Array,
    tolerance: float,
    what: str,
) -> None:
    assert {path: x.shape for path, x in values.items()} == dict(model.shapes)
    got = summary({path: wide(values[path]) for path in model.shapes})
    sizes = [min(24, int(np.prod(shape))) for shape in model.shapes.values()]
    for key, numbers in expected.items():
        allowed = tolerance * (np.repeat(scale, sizes) if key == "samples" else scale)
        ratio = np.abs(got[key] - numbers) / allowed
        print(f"{model.name} {what} {key}: {ratio.max() * tolerance:.3g}")
        assert ratio.max() <= 1.0, f"{what}, {key}: {ratio.max():.3g} times what is allowed"


@pytest.fixture(params=MODELS, ids=[model.name for model in MODELS])
def model(request: pytest.FixtureRequest) -> Iterator[Model]:
    return request.param


def test_the_evaluator_does_what_torch_does(model: Model) -> None:
    compare(model, evaluated(model), EXACT)


@pytest.mark.compiler
def test_the_compiled_step_does_what_torch_does(model: Model) -> None:
    """To 1e-5 relative, which float32 owes to the length of its sums.

    A sum of n products errs by n units of 2^-24 at worst, and by lambda * sqrt(n) of them with
    probability 1 - 2 * exp(-lambda^2 / 2) (Higham and Mary, "A New Approach to Probabilistic
    Rounding Error Analysis", 2019). The longest are those of the CNN's kernel gradients, 16 * 8 * 8
    terms: lambda = 5 gives 160 units, 1e-5. All others are shorter, and what the layers before
    added counts by the square root too. It is 1e-6 in fact. Steps do not add up: the rate makes
    the loss fall, so that an error in the parameters shrinks with it.
    """
    compare(model, compiled(model, "cpu"), ROUNDED)
