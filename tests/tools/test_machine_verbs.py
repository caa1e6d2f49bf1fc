"""`targets` and `doctor`, and the facts behind them."""

from __future__ import annotations

import json
import platform

import pytest

from stepforge.runtime.devices import Availability
from stepforge.tools.machine import Package, one_line, problems

pytestmark = pytest.mark.compiler


def test_targets_say_what_runs_here(cli) -> None:
    found = {row["name"]: row for row in json.loads(cli("targets", "--json").stdout)}
    assert found["cpu"]["runs"]
    assert found["vmvx"]["runs"]
    assert all(row["runs"] or row["why"] for row in found.values())
    assert "f16" not in found["vmvx"]["dtypes"]
    other = "cpu:aarch64" if platform.machine() == "x86_64" else "cpu:x86_64"
    assert not found[other]["runs"]
    assert found[other]["compiles"]
    assert found[other]["why"] == f"this machine is {platform.machine()}"


@pytest.mark.parametrize("part", ["what is needed to run it", "why it does not run here"])
def test_targets_print_each_text_once(cli, part: str) -> None:
    parts = dict(text.split(":\n", 1) for text in cli("targets").stdout.split("\n\n")[1:])
    texts = [line.split(": ", 1)[-1] for line in parts[part].strip().splitlines()]
    assert texts
    assert len(texts) == len(set(texts))


def test_targets_say_what_each_needs(cli) -> None:
    found = {row["name"]: row for row in json.loads(cli("targets", "--json").stdout)}
    assert all(row["needs"] for row in found.values())
    assert found["cpu"]["needs"] == "nothing more"
    assert "Vulkan 1.3 driver" in found["vulkan"]["needs"]
    assert "an NVIDIA driver" in cli("targets").stdout


@pytest.mark.vulkan
def test_a_vulkan_device_runs_the_portable_target(cli) -> None:
    found = {row["name"]: row for row in json.loads(cli("targets", "--json").stdout)}
    assert found["vulkan"]["runs"]
    families = [row for name, row in found.items() if name.startswith("vulkan:")]
    assert not all(row["runs"] for row in families)


def test_doctor_names_versions_and_devices(cli) -> None:
    facts = json.loads(cli("doctor", "--json").stdout)
    assert facts["python"] == platform.python_version()
    versions = {package["name"]: package["version"] for package in facts["packages"]}
    assert versions["iree-base-runtime"] == versions["iree-base-compiler"]
    drivers = {driver["driver"]: driver["available"] for driver in facts["drivers"]}
    assert drivers["local-sync"]
    assert not drivers["metal"]
    assert "cpu" in facts["compiles"]
    assert any("metal" in problem for problem in facts["problems"])


def test_doctor_prints_the_same(cli) -> None:
    text = cli("doctor").stdout
    assert "compiles for: cpu, vulkan, cuda, rocm, metal, vmvx" in text
    assert "what is missing:" in text


def versions(compiler: str | None) -> tuple[Package, ...]:
    return (
        Package(name="iree-base-runtime", version="3.13.0"),
        Package(name="iree-base-compiler", version=compiler),
    )


@pytest.mark.parametrize(
    ("compiler", "said"),
    [
        (None, "pip install 'stepforge[compiler]'"),
        ("3.12.0", "pip install iree-base-compiler==3.13.0"),
    ],
)
def test_a_compiler_that_does_not_fit_comes_first(compiler: str | None, said: str) -> None:
    missing = Availability("cuda", False, (), "no driver; install it")
    found = problems(versions(compiler), (missing,))
    assert said in found[0]
    assert found[1] == "no driver; install it"


def test_nothing_missing_says_nothing() -> None:
    assert problems(versions("3.13.0"), (Availability("local-sync", True, ("x",), ""),)) == ()


def test_long_reasons_become_one_line() -> None:
    reason = "device 'hip' cannot be opened: Error creating driver: c/x.c:1; Tried:\n a; install it"
    assert one_line(reason) == "device 'hip' cannot be opened; install it"
