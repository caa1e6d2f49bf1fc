"""Bounds of hyperparameters reach the artifact, where they are checked when one is set."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge import runtime
from stepforge.frontend import Adam, Settable
from stepforge.frontend.build import compile_optimizer

pytestmark = pytest.mark.compiler


@pytest.mark.parametrize("scope", ["AdamOptimizer", "Second"])
def test_a_setting_has_the_bounds_of_the_compiler(scope: str) -> None:
    made = compile_optimizer(Adam(scope=scope, betas=(Settable(0.9), 0.999)), {"w": "4xf32"})
    found = {h.name: h for h in made.manifest.groups[0].hyperparameters}
    (name,) = [n for n in found if n.endswith("adam_beta1")]
    rate = found[name.replace("adam_beta1", "learning_rate")]
    assert (found[name].minimum, found[name].below) == (0.0, 1.0)
    assert (rate.minimum, rate.below) == (0.0, None)
    with made.load() as optimizer:
        optimizer.initialize({"w": np.ones(4, np.float32)})
        for value in (1.0, -0.5, float("nan")):
            with pytest.raises(runtime.HyperparameterError, match="expected a"):
                optimizer.hyperparameters[name] = value
        with pytest.raises(runtime.HyperparameterError, match=r"at least 0 and below 1, got 1$"):
            optimizer.hyperparameters[name] = 1
        optimizer.hyperparameters[name] = 0.0
        optimizer.step({"w": np.ones(4, np.float32)})
        assert np.isfinite(optimizer.parameters["w"]).all()
