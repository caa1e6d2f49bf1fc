"""Where artifacts go: one file, or a folder of NAME.TARGET.vmfb."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from stepforge.tools.errors import ToolError


def output_paths(
    name: str, targets: Sequence[str], output: str | None, force: bool
) -> Mapping[str, Path]:
    """target -> file. `output` is a folder when it ends in / or is one, or when there are several
    targets. Raises ToolError, before anything is compiled, for a file that is already there.
    """
    paths = _paths(name, targets, output)
    taken = [str(path) for path in paths.values() if path.exists()]
    if taken and not force:
        raise ToolError(f"{', '.join(taken)} exists; --force overwrites")
    return paths


def _paths(name: str, targets: Sequence[str], output: str | None) -> Mapping[str, Path]:
    if len(set(targets)) < len(targets):
        raise ToolError(f"each target once: got {', '.join(targets)}")
    folder = Path(output or ".")
    if output is not None and not output.endswith("/") and not folder.is_dir():
        if len(targets) == 1:
            return {targets[0]: folder}
        if folder.suffix == ".vmfb":
            raise ToolError(
                f"{len(targets)} targets make {len(targets)} files: expected a folder, got "
                f"-o {output}"
            )
    return {target: folder / f"{name}.{file_safe(target)}.vmfb" for target in targets}


def file_safe(target: str) -> str:
    """`cpu:aarch64:cortex-a72` -> `cpu-aarch64-cortex-a72`: a colon ends a path on some systems."""
    return re.sub(r"[^A-Za-z0-9._+-]", "-", target)
