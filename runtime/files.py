"""Writing a file whole or not at all, and making what was written outlast a crash.

Every call of the operating system goes through `os`, one by one, so that a test can end the process
at each of them.
"""

from __future__ import annotations

import errno
import os
import re
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

STALE_SECONDS = 3600.0

# What a file system that does not sync folders answers, and a folder that may be written but not
# read. The new file is in its place by then.
_NO_SYNC = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EACCES)

# What a file system without hard links answers.
_NO_LINKS = (errno.EPERM, errno.ENOTSUP, errno.ENOSYS)

# What one that cannot set space aside answers; then a full disk is found while writing.
_NO_ALLOCATION = (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF)

_TEMPORARY = re.compile(r"\.(.+)\.([0-9]{1,10})\.[0-9a-f]{8}\.tmp", re.DOTALL)

# Chunks below this many bytes are copied together, and written at once.
_SHORT = 2**16

# Below what one call takes on every platform.
_MOST = 2**30


class UnsyncedError(OSError):
    """The new file is in its place, but its folder could not be synced."""


def write_atomically(
    path: Path,
    chunks: Sequence[bytes | memoryview],
    *,
    force: bool,
    check: Callable[[int], object] | None = None,
) -> None:
    """Write `chunks` to a new file in the same folder, sync it, and put it in the place of `path`.

    check: called with a descriptor to read the new file from, before it is put in its place; what
    it raises comes through.
    A reader sees the old file or the new one, also after a crash. An existing file keeps its mode.
    Raises FileExistsError unless `force`, and OSError; then `path` is untouched and no temporary
    file is left. Raises UnsyncedError when the disk failed after that: the new file is there.
    """
    if not force and path.exists():
        raise FileExistsError(f"{path} exists")
    temporary = path.parent / f".{path.name}.{os.getpid()}.{os.urandom(4).hex()}.tmp"
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o666)
    try:
        try:
            _copy_mode(path, descriptor)
            _fill(descriptor, chunks)
        finally:
            os.close(descriptor)
        if check is not None:
            _read_back(temporary, check)
        _place(temporary, path, force=force)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise
    _sync_parent(path)


def make_folder(folder: Path) -> None:
    """Make it, with those above it, so that it outlasts a crash. Raises OSError."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    try:
        os.mkdir(folder)
    except FileExistsError:
        if not folder.is_dir():
            raise
    try:
        _sync_parent(folder)
    except OSError:
        # The next try is to find it missing, and sync again.
        with suppress(OSError):
            os.rmdir(folder)
        raise


def remove_stale(folder: Path, is_ours: Callable[[str], object]) -> None:
    """Remove temporary files that a writer left behind which was killed.

    They are those of `write_atomically` for names that `is_ours`, untouched for an hour, of a
    process that is gone. What cannot be removed stays.
    """
    with suppress(OSError):
        for name in os.listdir(folder):
            found = _TEMPORARY.fullmatch(name)
            if found and is_ours(found[1]) and _is_stale(folder / name, int(found[2])):
                with suppress(OSError):
                    os.unlink(folder / name)


def _is_stale(path: Path, writer: int) -> bool:
    try:
        if time.time() - os.stat(path).st_mtime < STALE_SECONDS:
            return False
        os.kill(writer, 0)
    except ProcessLookupError:
        return True
    except (OSError, OverflowError):
        return False
    return False


def _copy_mode(path: Path, descriptor: int) -> None:
    try:
        found = os.stat(path)
    except FileNotFoundError:
        return
    os.fchmod(descriptor, stat.S_IMODE(found.st_mode))


def _fill(descriptor: int, chunks: Sequence[bytes | memoryview]) -> None:
    _allocate(descriptor, sum(len(chunk) for chunk in chunks))
    for block in _blocks(chunks):
        _write(descriptor, block)
    # Not tried again after an error: the system may have dropped what it could not write.
    os.fsync(descriptor)


def _allocate(descriptor: int, size: int) -> None:
    """Find out that a disk is full before anything is written."""
    if not size:
        return
    try:
        os.posix_fallocate(descriptor, 0, size)
    except AttributeError:  # not on this platform
        return
    except OSError as error:
        if error.errno not in _NO_ALLOCATION:
            raise


def _blocks(chunks: Sequence[bytes | memoryview]) -> Iterator[bytes | bytearray | memoryview]:
    """The same bytes, with short chunks put together."""
    together = bytearray()
    for chunk in chunks:
        if len(chunk) < _SHORT:
            together += chunk
        if together and (len(chunk) >= _SHORT or len(together) >= _SHORT):
            yield together
            together = bytearray()
        if len(chunk) >= _SHORT:
            yield chunk
    if together:
        yield together


def _write(descriptor: int, block: bytes | bytearray | memoryview) -> None:
    left = memoryview(block)
    while left:
        try:
            written = os.write(descriptor, left[:_MOST])
        except InterruptedError:
            continue
        if not written:
            raise OSError(errno.EIO, "the disk took no more bytes")
        left = left[written:]


def _read_back(temporary: Path, check: Callable[[int], object]) -> None:
    descriptor = os.open(temporary, os.O_RDONLY | os.O_CLOEXEC)
    try:
        # What was synced is dropped from memory, so that it is the disk's bytes that are read.
        with suppress(OSError, AttributeError):
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        check(descriptor)
    finally:
        os.close(descriptor)


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
    os.unlink(temporary)


def _sync_parent(path: Path) -> None:
    """Make the entry of `path` in its folder outlast a crash."""
    try:
        descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
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
