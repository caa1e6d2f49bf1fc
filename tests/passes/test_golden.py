"""Every golden case: checks, verification, idempotence, and the same numbers before and after."""

from __future__ import annotations

import numpy as np
import pytest

from stepforge.passes import bindings, pass_base
from stepforge.passes.errors import PassError
from support.lowered import EXACT_TARGET, random_arguments, run_text
from support.pass_cases import Case, all_cases, filecheck

pytestmark = pytest.mark.compiler

CASES = all_cases()
REFUSALS = [case for case in CASES if case.refused]
POSITIVES = [case for case in CASES if not case.refused]
EXECUTED = [case for case in POSITIVES if case.execute != "no"]


def after(case: Case) -> str:
    module = bindings.parse(case.text)
    pass_base.apply(case.step, module)
    return str(module)


@pytest.mark.parametrize("case", POSITIVES, ids=str)
def test_output_is_what_the_case_says(case: Case) -> None:
    output = after(case)
    said = filecheck(case.path, output)
    assert said is None, f"{said}\n{output}"


@pytest.mark.parametrize("case", POSITIVES, ids=str)
def test_running_again_changes_nothing(case: Case) -> None:
    once = after(case)
    module = bindings.parse(once)
    pass_base.apply(case.step, module)
    assert str(module) == once


@pytest.mark.parametrize("case", REFUSALS, ids=str)
def test_refusal_says_why(case: Case) -> None:
    with pytest.raises(PassError) as caught:
        after(case)
    for part in case.refused:
        assert part in str(caught.value)


@pytest.mark.parametrize("case", EXECUTED, ids=str)
def test_output_computes_the_same(case: Case) -> None:
    output = after(case)
    for name, arguments in random_arguments(case.text).items():
        expected = run_text(case.text, name, arguments, EXACT_TARGET)
        found = run_text(output, name, arguments, EXACT_TARGET)
        for a, b in zip(expected, found, strict=True):
            if case.execute == "exact":
                np.testing.assert_array_equal(b, a)
            else:
                np.testing.assert_allclose(b, a, rtol=1e-5)
