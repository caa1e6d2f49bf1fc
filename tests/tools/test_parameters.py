"""Parameter files: what is read, what is left out, what is refused."""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
from safetensors.numpy import save_file

from stepforge.tools.arrays import read_arrays
from stepforge.tools.errors import CorruptInputError, ToolError
from stepforge.tools.parameters import read_parameters


def header_only(path: Path, header: Mapping[str, Any]) -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text)
    return path


def test_safetensors_names_shapes_and_dtypes(tmp_path: Path) -> None:
    path = tmp_path / "model.safetensors"
    tensors = {
        "encoder.w": np.zeros((4, 3), np.float32),
        "encoder.b": np.zeros(3, ml_dtypes.bfloat16),
        "scale": np.zeros((), np.float16),
        "position_ids": np.arange(5),
        "mask": np.zeros(2, bool),
    }
    save_file(tensors, path)
    found = read_parameters(path)
    assert found.specs == {
        "encoder.w": {"shape": [4, 3], "dtype": "float32"},
        "encoder.b": {"shape": [3], "dtype": "bfloat16"},
        "scale": {"shape": [], "dtype": "float16"},
    }
    assert sorted(found.left_out) == [("mask", "bool"), ("position_ids", "i64")]


def test_safetensors_values_are_never_read(tmp_path: Path) -> None:
    entry = {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}
    path = header_only(tmp_path / "huge.safetensors", {"w": entry})
    assert read_parameters(path).specs == {"w": {"shape": [2**40], "dtype": "float32"}}


def test_npz_names_shapes_and_dtypes(tmp_path: Path) -> None:
    path = tmp_path / "model.npz"
    np.savez(path, w=np.zeros((4, 3)), b=np.zeros(3, np.float32), ids=np.arange(3, dtype=np.int32))
    found = read_parameters(path)
    assert found.specs == {
        "w": {"shape": [4, 3], "dtype": "float64"},
        "b": {"shape": [3], "dtype": "float32"},
    }
    assert found.left_out == (("ids", "int32"),)


def test_npz_with_objects_is_not_unpickled(tmp_path: Path) -> None:
    path = tmp_path / "evil.npz"
    np.savez(path, w=np.array([{}], dtype=object))
    with pytest.raises(ToolError, match=r"'w' .* has dtype \|O"):
        read_parameters(path)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.json", '{"encoder/w": "64x32xf32", "b": {"shape": [32], "dtype": "float32"}}'),
        ("p.toml", '"encoder/w" = "64x32xf32"\nb = {shape = [32], dtype = "float32"}'),
    ],
)
def test_specs_are_passed_through(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    assert read_parameters(tmp_path / name).specs == {
        "encoder/w": "64x32xf32",
        "b": {"shape": [32], "dtype": "float32"},
    }


@pytest.mark.parametrize(
    ("include", "exclude", "left"),
    [
        ((), (), ["a.bias", "a.weight", "b.bias"]),
        (("a.*",), (), ["a.bias", "a.weight"]),
        ((), ("*.bias",), ["a.weight"]),
        (("a.*", "b.*"), ("a.bias",), ["a.weight", "b.bias"]),
    ],
)
def test_globs_choose(
    tmp_path: Path, include: tuple[str, ...], exclude: tuple[str, ...], left: list[str]
) -> None:
    (tmp_path / "p.json").write_text('{"a.bias": "3xf32", "a.weight": "3xf32", "b.bias": "3xf32"}')
    assert list(read_parameters(tmp_path / "p.json", include, exclude).specs) == left


def test_a_glob_without_a_match_is_a_typo(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text('{"a": "3xf32"}')
    with pytest.raises(ToolError, match=r"--exclude '\*\.bais' matches none of the 1"):
        read_parameters(tmp_path / "p.json", exclude=("*.bais",))
    with pytest.raises(ToolError, match="no parameter is left"):
        read_parameters(tmp_path / "p.json", exclude=("*",))


def test_an_unknown_kind_of_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match=r"\.safetensors, \.npz, \.json, \.toml"):
        read_parameters(tmp_path / "model.pt")


def test_an_unknown_float_is_refused(tmp_path: Path) -> None:
    entry = {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}
    path = header_only(tmp_path / "m.safetensors", {"w": entry})
    with pytest.raises(ToolError, match=r"'w' in .* has dtype F8_E4M3"):
        read_parameters(path)


def test_an_unsupported_dtype_can_be_left_out(tmp_path: Path) -> None:
    entries = {"w": {"dtype": "F32", "shape": [2]}, "lut": {"dtype": "F8_E4M3", "shape": [2]}}
    path = header_only(tmp_path / "m.safetensors", entries)
    assert list(read_parameters(path, exclude=("lut",)).specs) == ["w"]
    assert list(read_parameters(path, include=("w",)).specs) == ["w"]
    np.savez(tmp_path / "m.npz", w=np.zeros(2, np.float32), z=np.zeros(2, np.complex64))
    assert list(read_parameters(tmp_path / "m.npz", exclude=("z",)).specs) == ["w"]
    with pytest.raises(ToolError, match=r"'z' in .* has dtype <c8; leave it out with --exclude"):
        read_parameters(tmp_path / "m.npz")


def test_what_was_excluded_is_not_reported_as_left_out(tmp_path: Path) -> None:
    np.savez(tmp_path / "m.npz", w=np.zeros(2, np.float32), ids=np.zeros(2, np.int32))
    assert read_parameters(tmp_path / "m.npz").left_out == (("ids", "int32"),)
    assert read_parameters(tmp_path / "m.npz", exclude=("ids",)).left_out == ()


HEADER_SPEC = {"w": {"dtype": "F32", "shape": [-1]}}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("empty.safetensors", b""),
        ("short.safetensors", struct.pack("<Q", 2**60) + b"{}"),
        ("text.safetensors", struct.pack("<Q", 4) + b"abcd"),
        ("list.safetensors", struct.pack("<Q", 2) + b"[]"),
        ("deep.safetensors", struct.pack("<Q", 200_000) + b"[" * 200_000),
        ("shape.safetensors", struct.pack("<Q", 40) + json.dumps(HEADER_SPEC).ljust(40).encode()),
        ("no.npz", b"PK\x03\x04 nothing"),
        ("empty.npz", b""),
        ("no.json", b"{"),
        ("latin.json", b"\xff\xfe"),
        ("no.toml", b"= 3"),
        ("latin.toml", b"\xff"),
        ("digits.toml", b"w = " + b"9" * 5000),
        ("digits.json", b'{"w": ' + b"9" * 5000 + b"}"),
        ("deep.toml", b"w = " + b"[" * 5000),
    ],
)
def test_a_damaged_file_is_corrupt_input(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CorruptInputError) as error:
        read_parameters(tmp_path / name)
    assert error.value.exit_code == 3


def test_json_must_be_a_mapping(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("[1]")
    with pytest.raises(ToolError, match="mapping of names to specs"):
        read_parameters(tmp_path / "p.json")


def test_a_bare_array_is_corrupt_input(tmp_path: Path) -> None:
    with (tmp_path / "m.npz").open("wb") as file:
        np.save(file, np.zeros(3))
    with pytest.raises(CorruptInputError, match="is one bare array"):
        read_arrays(tmp_path / "m.npz")


@pytest.mark.parametrize("read", [read_parameters, read_arrays])
def test_a_damaged_compressed_npz_is_corrupt_input(read: Any, tmp_path: Path) -> None:
    path = tmp_path / "m.npz"
    np.savez_compressed(path, w=np.arange(4096, dtype=np.float32))
    data = bytearray(path.read_bytes())
    data[60:120] = b"\xff" * 60
    path.write_bytes(data)
    with pytest.raises(CorruptInputError, match=r"no whole \.npz"):
        read(path)


@pytest.mark.parametrize("read", [read_parameters, read_arrays])
def test_an_npz_that_refers_to_what_is_before_its_start(read: Any, tmp_path: Path) -> None:
    found = Path(__file__).parents[1] / "fuzz/corpus/parameters/npz-negative-offset.bin"
    path = tmp_path / "m.npz"
    path.write_bytes(found.read_bytes()[1:])
    with pytest.raises(CorruptInputError, match=r"is no whole \.npz file"):
        read(path)
    path.unlink()
    with pytest.raises(FileNotFoundError):
        read(path)
