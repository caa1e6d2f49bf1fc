"""Finding a model's functions by their names, and the inputs it is given."""

from __future__ import annotations

import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from stepforge.tools.errors import ToolError


def load_function(spec: str, option: str = "--model") -> Callable[..., Any]:
    """The function of `model.py:function` or `package.module:function`. Runs the module.

    option: what the user gave it with. Raises ToolError where there is no such function; what the
    module raises comes through as a ToolError too, with the line.
    """
    place, colon, name = spec.rpartition(":")
    if not colon or not place or not name.isidentifier():
        raise ToolError(f"{option} takes FILE.py:FUNCTION or MODULE:FUNCTION, got {spec!r}")
    is_file = place.endswith(".py")
    module = _from_file(Path(place), option) if is_file else _from_module(place, option)
    found = getattr(module, name, None)
    if not callable(found):
        here = [key for key, value in vars(module).items() if inspect.isfunction(value)]
        raise ToolError(
            f"{option} {spec}: {place} has no function {name!r}; it has {', '.join(here) or 'none'}"
        )
    return found


def _from_file(path: Path, option: str) -> ModuleType:
    if not path.is_file():
        raise ToolError(f"{option}: there is no file {path}")
    found = importlib.util.spec_from_file_location(path.stem, path)
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    # As for a script: what lies beside the file can be imported by it.
    sys.path.insert(0, str(path.parent.resolve()))
    try:
        found.loader.exec_module(module)
    except Exception as error:
        raise _failed(f"{option}: {path}", error) from error
    finally:
        sys.path.pop(0)
    return module


def _from_module(name: str, option: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except Exception as error:
        raise _failed(f"{option}: {name}", error) from error


def _failed(what: str, error: Exception) -> ToolError:
    line = ""
    trace = error.__traceback__
    while trace is not None:
        line = f" (line {trace.tb_lineno} of {Path(trace.tb_frame.f_code.co_filename).name})"
        trace = trace.tb_next
    return ToolError(f"{what} does not run: {type(error).__name__}: {error}{line}")


def parse_batch_sizes(values: Sequence[str]) -> tuple[int, ...]:
    """`--batch 1,8 --batch 32` -> 1, 8, 32."""
    texts = [text.strip() for value in values for text in value.split(",")]
    for text in texts:
        if not (text.isascii() and text.isdigit()):
            raise ToolError(f"--batch takes numbers of rows, such as 1,8,32, got {text!r}")
    return tuple(map(int, texts))


def parse_inputs(assignments: Sequence[str]) -> Mapping[str, str]:
    """`NAME=SPEC` pairs, such as x=32x64xf32."""
    found: dict[str, str] = {}
    for assignment in assignments:
        name, equals, spec = assignment.partition("=")
        if not equals or not name.strip() or not spec.strip():
            raise ToolError(
                f"--input takes NAME=SHAPExDTYPE, such as x=32x64xf32, got {assignment!r}"
            )
        found[name.strip()] = spec.strip()
    return found
