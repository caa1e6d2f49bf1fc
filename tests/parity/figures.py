"""Print the table of docs/numerics.md: the worst errors of a million tuples, beside their bars.

PYTHONPATH=tests python -m parity.figures
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from oracles import inputs, judge
from oracles.bars import DIRECTION, MOMENT1, SECOND_SLOT
from oracles.settings import SLOT_SUFFIXES

from .cases import PLACES, ROWS, Place, Row
from .stepping import COUNT, Artifacts, by_variable

SEEDS = (1, 2, 3, 4)
"""Times the 17 steps of `inputs.STEPS` and 16,516 tuples: 1.12 million."""
TITLES = {"m": "first moment", "v": "second moment", "step": "update"}


def worst(row: Row, place: Place, artifacts: Artifacts) -> dict[str, float]:
    """Quantity -> its largest error in ULP."""
    stepper = artifacts.stepper(row, place)
    found: dict[str, float] = {}
    for seed in SEEDS:
        for t in inputs.STEPS:
            drawn = inputs.random_state(row.oracle, COUNT, seed=(seed << 32) + t)
            after = stepper.run(drawn, t)
            states = zip(
                by_variable(drawn.state),
                by_variable({"gradient": drawn.gradient}),
                by_variable(after),
                strict=True,
            )
            for before, gradient, new in states:
                g = gradient["gradient"]
                for m in judge.judge(row.oracle, before, g, new, t, place.bars):
                    found[m.quantity] = max(found.get(m.quantity, 0.0), m.ulp)
    return found


def bar(row: Row, quantity: str, place: Place) -> float:
    name = row.oracle.optimizer
    if quantity == "m":
        return MOMENT1[place.bars].ulp
    table = SECOND_SLOT if quantity == "v" else DIRECTION
    return table[name][place.bars].ulp


def table(artifacts: Artifacts) -> Iterator[str]:
    yield f"| optimizer | quantity | {' | '.join(place.name for place in PLACES)} |"
    yield "|---" * (2 + len(PLACES)) + "|"
    for row in ROWS:
        if row.setting.name != "default":
            continue
        columns = [worst(row, place, artifacts) for place in PLACES]
        for quantity in [*(q for q in SLOT_SUFFIXES if q in row.oracle.slots), "step"]:
            cells = [
                f"{column[quantity]:.2f} of {bar(row, quantity, place):g}"
                for column, place in zip(columns, PLACES, strict=True)
            ]
            yield f"| `{row.optimizer}` | {TITLES[quantity]} | {' | '.join(cells)} |"


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        artifacts = Artifacts(Path(folder))
        try:
            print("\n".join(table(artifacts)))
        finally:
            artifacts.close()


if __name__ == "__main__":
    main()
