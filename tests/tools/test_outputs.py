"""Names of the files that are written."""

from __future__ import annotations

from pathlib import Path

import pytest

from stepforge.tools.errors import ToolError
from stepforge.tools.outputs import output_paths


def test_one_target_goes_where_it_is_told(tmp_path: Path) -> None:
    file = tmp_path / "a.vmfb"
    assert output_paths("adamw", ["cpu"], str(file), force=False) == {"cpu": file}


def test_a_folder_gets_named_files(tmp_path: Path) -> None:
    expected = {"cpu": tmp_path / "adamw.cpu.vmfb"}
    assert output_paths("adamw", ["cpu"], str(tmp_path), force=False) == expected
    new = output_paths("adamw", ["cpu"], f"{tmp_path}/new/", force=False)
    assert new == {"cpu": tmp_path / "new" / "adamw.cpu.vmfb"}


def test_target_names_become_file_safe(tmp_path: Path) -> None:
    targets = ["cpu:aarch64:cortex-a72+sve", "vulkan"]
    paths = output_paths("sgd", targets, str(tmp_path / "out"), force=False)
    assert [path.name for path in paths.values()] == [
        "sgd.cpu-aarch64-cortex-a72+sve.vmfb",
        "sgd.vulkan.vmfb",
    ]


def test_without_an_output_it_is_the_current_folder() -> None:
    assert output_paths("sgd", ["cpu"], None, force=True) == {"cpu": Path("sgd.cpu.vmfb")}


def test_nothing_is_overwritten_without_force(tmp_path: Path) -> None:
    file = tmp_path / "a.vmfb"
    file.write_bytes(b"")
    with pytest.raises(ToolError, match="exists; --force overwrites"):
        output_paths("adamw", ["cpu"], str(file), force=False)
    assert output_paths("adamw", ["cpu"], str(file), force=True) == {"cpu": file}


def test_several_targets_need_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ToolError, match="expected a folder"):
        output_paths("adamw", ["cpu", "vmvx"], str(tmp_path / "a.vmfb"), force=False)
    with pytest.raises(ToolError, match="each target once"):
        output_paths("adamw", ["cpu", "cpu"], str(tmp_path), force=False)
