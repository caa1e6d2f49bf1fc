"""What a disk may hold after a crash: a journal of calls, replayed with what was synced or not.

POSIX promises the bytes of a file after `fsync` of the file, and the names in a folder after
`fsync` of the folder. Everything else may be there, in part, or not at all.
"""

from __future__ import annotations

import json
import os
import random
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

LOST = ("data", "names", "both")
"""What a crash may take: unsynced bytes of files, unsynced names in folders, or both."""

_BLOCK = 64


@dataclass(eq=False)
class File:
    now: bytearray
    synced: bytes = b""
    written: list[tuple[int, bytes]] = field(default_factory=list)
    """Since the last sync."""


@dataclass(eq=False)
class Folder:
    now: dict[str, Any] = field(default_factory=dict)
    synced: dict[str, Any] = field(default_factory=dict)
    changed: list[dict[str, Any]] = field(default_factory=list)
    """Since the last sync: the names that one call set at once, to what; None: removed."""

    def change(self, names: dict[str, Any]) -> None:
        self.changed.append(names)
        _apply(self.now, names)


class Disk:
    """The contents of a folder, all of it synced at first."""

    def __init__(self, start: Path) -> None:
        self.root = _read(start)
        self._open: dict[int, list[Any]] = {}

    @staticmethod
    def replayed(start: Path, case: Path) -> Disk:
        """After the calls of `case/journal.json`, made in `case/disk`."""
        disk = Disk(start)
        root = os.fspath(case / "disk")
        for name, *arguments in json.loads((case / "journal.json").read_text()):
            disk._call(name, [_relative(a, root) for a in arguments])
        return disk

    def write(self, to: Path, lost: str, seed: int) -> None:
        """One of the states that a crash may leave."""
        _write(self.root, to, lost, random.Random(seed), seed)

    def _call(self, name: str, a: list[Any]) -> None:
        if name == "open":
            self._opened(a[0], a[1], a[-1])
        elif name == "close":
            del self._open[a[0]]
        elif name == "write":
            self._written(a[0], bytes.fromhex(a[1]))
        elif name == "posix_fallocate":
            file: File = self._open[a[0]][0]
            more = a[1] + a[2] - len(file.now)
            file.written.append((len(file.now), bytes(max(0, more))))
            file.now.extend(bytes(max(0, more)))
        elif name == "fsync":
            _sync(self._open[a[0]][0])
        elif name in ("mkdir", "rmdir", "unlink"):
            folder, leaf = self._place(a[0])
            folder.change({leaf: Folder() if name == "mkdir" else None})
        elif name in ("replace", "link"):
            (folder, leaf), (other, target) = self._place(a[0]), self._place(a[1])
            assert folder is other, "files are moved within a folder"
            gone = {leaf: None} if name == "replace" else {}
            folder.change({**gone, target: folder.now[leaf]})

    def _opened(self, path: str, flags: int, descriptor: int) -> None:
        folder, leaf = self._place(path)
        if flags & os.O_CREAT:
            folder.change({leaf: File(bytearray())})
        self._open[descriptor] = [folder.now[leaf] if leaf else folder, 0]

    def _written(self, descriptor: int, data: bytes) -> None:
        file, position = self._open[descriptor]
        file.now[position : position + len(data)] = data
        file.written.append((position, data))
        self._open[descriptor][1] += len(data)

    def _place(self, path: str) -> tuple[Folder, str]:
        *above, leaf = Path(path).parts or [""]
        folder = self.root
        for name in above:
            folder = folder.now[name]
        return folder, leaf


def _relative(argument: Any, root: str) -> Any:
    if isinstance(argument, str) and argument.startswith(root):
        return argument[len(root) :].lstrip("/")
    return argument


def _apply(names: dict[str, Any], change: dict[str, Any]) -> None:
    for name, node in change.items():
        names.pop(name, None)
        if node is not None:
            names[name] = node


def _sync(node: File | Folder) -> None:
    if isinstance(node, File):
        node.synced = bytes(node.now)
        node.written.clear()
    else:
        node.synced = dict(node.now)
        node.changed.clear()


def _read(path: Path) -> Folder:
    found: dict[str, Any] = {}
    for entry in path.iterdir():
        data = b"" if entry.is_dir() else entry.read_bytes()
        found[entry.name] = _read(entry) if entry.is_dir() else File(bytearray(data), data)
    return Folder(found, dict(found))


def _write(folder: Folder, to: Path, lost: str, draw: random.Random, seed: int) -> None:
    to.mkdir()
    names = folder.now
    if lost in ("names", "both"):
        names = dict(folder.synced)
        # Any of the calls may have reached the disk; with seed 0, none.
        for change in folder.changed:
            if seed and draw.random() < 0.5:
                _apply(names, change)
    for name, node in names.items():
        if isinstance(node, Folder):
            _write(node, to / name, lost, draw, seed)
        else:
            intact = lost == "names"
            (to / name).write_bytes(node.now if intact else _rest(node, draw, seed))


def _rest(file: File, draw: random.Random, seed: int) -> bytes:
    """What is left of a file without some of what was written since its last sync."""
    if seed == 0:
        return file.synced
    rest = bytearray(file.synced)
    for position, data in file.written:
        rest.extend(bytes(max(0, position + len(data) - len(rest))))
        for start in range(0, len(data), _BLOCK):
            if seed > 1 and draw.random() < 0.5:
                block = data[start : start + _BLOCK]
                rest[position + start : position + start + len(block)] = block
    return bytes(rest)
