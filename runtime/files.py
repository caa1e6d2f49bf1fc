"""Writing a file whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# What a file system that does not sync folders answers, and a folder that may be written but not
# read. The new file is in its place by then.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)

# What a file system without hard links answers.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)


class UnsyncedError(OSError):
    """The new file is in its place, but its folder could not be synced."""


def write_atomically(path: Path, chunks: Iterable[bytes | memoryview], *, force: bool) -> None:
    """Write `chunks` to a new file in the same folder, sync it, and put it in the place of `path`.

    A reader sees the old file or the new one, also after a crash. An existing file keeps its mode.
    Raises FileExistsError unless `force`, and OSError; then `path` is untouched and no temporary
    file is left. Raises UnsyncedError when the disk failed after that: the new file is there.
    """
    if not force and path.exists():
        raise FileExistsError(f"{path} exists")
    temporary = path.parent / f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp"
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        with open(descriptor, "wb") as stream:
            if path.exists():
                os.fchmod(stream.fileno(), stat.S_IMODE(path.stat().st_mode))
            for chunk in chunks:
                stream.write(chunk)
            stream.flush()
            os.fsync(stream.fileno())
        _place(temporary, path, force=force)
    except BaseException:
        with suppress(FileNotFoundError):
            temporary.unlink()
        raise
    _sync_directory(path)


def _place(temporary: Path, path: Path, *, force: bool) -> None:
    if force:
        os.replace(temporary, path)
        return
    # A link refuses an existing target in one system call, where a test before a rename races.
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        os.replace(temporary, path)
        return
    temporary.unlink()


def _sync_directory(path: Path) -> None:
    """Make the entry of `path` in its folder outlast a crash."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno in _NO_SYNC:
            return
        raise UnsyncedError(
            error.errno,
            f"the new file is in its place, and may not outlast a crash, because its folder "
            f"could not be synced: {error.strerror}; write it again when the disk is well",
            str(path),
        ) from error
