"""What a parser may make of any bytes: a value or an error of ours, in bounded time and memory.

`tests/fuzz` has a module for each parser, with a function `one` that takes bytes; Hypothesis feeds
it in CI, atheris (`run`, by `tests/fuzz/test_fuzzing.py`) in `make soak`.
"""

from __future__ import annotations

import importlib
import inspect
import sys
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

CORPUS = Path(__file__).resolve().parents[1] / "fuzz" / "corpus"
SECONDS = 0.1
"""Of the processor's time, for one input of at most a few kilobytes."""
MEMORY = 64 * 2**20
TRIES = 5

One = Callable[[bytes], object]


def judge(one: One, data: bytes) -> None:
    """Asserts the bounds; whatever `one` does not expect comes through."""
    tracemalloc.start()
    try:
        one(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MEMORY, f"{peak} bytes for {data!r}"
    # The best of several: a machine that is busy elsewhere is slow now and then, not each time.
    assert any(_seconds(one, data) < SECONDS for _ in range(TRIES)), f"too slow: {data!r}"


def _seconds(one: One, data: bytes) -> float:
    start = time.process_time()
    one(data)
    return time.process_time() - start


def corpus(name: str) -> list[Path]:
    """The inputs that are kept for a parser."""
    return sorted((CORPUS / name).iterdir())


def run(one: One, *packages: str) -> None:
    """Let atheris look for input that breaks `one`, by the branches taken in these packages.

    The command line is libFuzzer's: `python -m fuzz.fuzz_graph -max_total_time=600 FOLDER`.
    """
    atheris: Any = importlib.import_module("atheris")
    for name, module in list(sys.modules.items()):
        if name.startswith(packages):
            for function in _functions(module):
                atheris.instrument_func(function)
    atheris.Setup(sys.argv, one)
    atheris.Fuzz()


def _functions(module: Any) -> list[Any]:
    """Its functions, and the methods of its classes."""
    found: list[Any] = []
    for value in vars(module).values():
        members = list(vars(value).values()) if inspect.isclass(value) else [value]
        found += [x for x in members if inspect.isfunction(x) and x.__module__ == module.__name__]
    return found
