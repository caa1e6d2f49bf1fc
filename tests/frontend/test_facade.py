"""What `stepforge.frontend` offers, and what importing it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

from stepforge import frontend

LAZY = ("Artifact", "compile_optimizer", "compile_train_step")


@pytest.mark.parametrize("name", sorted(frontend.__all__))
def test_every_public_name_is_there(name: str) -> None:
    assert getattr(frontend, name) is not None


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = frontend.nothing


@pytest.mark.compiler
@pytest.mark.parametrize("name", LAZY)
def test_what_needs_the_compiler_is_there_by_name(name: str) -> None:
    assert getattr(frontend, name) is not None
    assert name in dir(frontend)


def test_a_star_import_loads_no_iree() -> None:
    code = (
        "import sys\n"
        "from stepforge.frontend import *\n"
        "assert Adam().formula and trace and Settable\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] == 'iree'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_tracing_and_stepping_load_no_iree() -> None:
    code = (
        "import sys, numpy\n"
        "from stepforge.frontend import Adam, Context, trace\n"
        "from stepforge.frontend.reference import ReferenceStep\n"
        "ctx = Context(); ctx.variable('w', (3,))\n"
        "step = ReferenceStep(trace(Adam(), ctx)); step.initialize({'w': numpy.ones(3)})\n"
        "step.step({'w': numpy.ones(3, 'float32')})\n"
        "print(sorted(m for m in sys.modules if m.split('.')[0] == 'iree'))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
