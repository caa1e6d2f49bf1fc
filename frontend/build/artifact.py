"""What `compile_optimizer` returns."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from stepforge import runtime
from stepforge.frontend.program import Program
from stepforge.passes import Statistics
from stepforge.runtime.files import UnsyncedError, write_atomically
from stepforge.runtime.manifest import Manifest


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A compiled and checked artifact, in memory; `path` says where it was written, if it was."""

    data: bytes
    """The whole file."""
    manifest: Manifest
    program: Program
    statistics: Statistics
    """Dispatches, copies and memory of each function, as compiled for the target."""
    warnings: tuple[str, ...] = ()
    """What the compiler and the target remarked."""
    path: Path | None = None

    def load(self, *, device: str | None = None) -> runtime.CompiledStep:
        """The step on a device. Raises what `stepforge.runtime.load` raises."""
        return runtime.load(self.data, device=device)

    def save(self, path: str | os.PathLike[str], *, force: bool = False) -> Path:
        """Write the file, whole or not at all. Raises ArtifactWriteError, also where it exists
        and `force` is not given."""
        file = Path(path)
        try:
            write_atomically(file, [self.data], force=force)
        except FileExistsError as error:
            raise file_exists(file) from error
        except UnsyncedError as error:
            raise runtime.ArtifactWriteError(f"the artifact {file}: {error.strerror}") from error
        except OSError as error:
            raise runtime.ArtifactWriteError(
                f"cannot write {file} ({len(self.data)} bytes): {error}"
            ) from error
        return file


def file_exists(file: Path) -> runtime.ArtifactWriteError:
    """The refusal to write over a file."""
    return runtime.ArtifactWriteError(
        f"{file} exists and is not overwritten; give force=True (--force), or another path"
    )
