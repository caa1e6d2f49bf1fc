"""Which devices there are, and refusing an artifact whose code would not run right here."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any

import pytest

from stepforge import runtime
from stepforge.runtime import device_check, devices
from stepforge.runtime.cpu_features import host_architecture
from stepforge.runtime.device_check import check_cpu, check_gpu, check_version
from stepforge.runtime.devices import choose_device, open_device, probe, probe_all
from stepforge.runtime.manifest import Manifest, Target
from support import handmade, variants

SHAPES = {"/w": (4,)}


def manifest(**fields: Any) -> Manifest:
    return dataclasses.replace(handmade.adam_manifest(SHAPES), **fields)


# Finding devices.


@pytest.mark.vulkan
def test_a_software_device_leaves_the_processors_to_others() -> None:
    """Its waiting threads never sleep: at the usual priority they would keep two cores busy."""
    script = """if True:
        import os, pathlib, time
        from stepforge import runtime
        runtime.probe("vulkan")
        time.sleep(1)
        for thread in pathlib.Path("/proc/self/task").iterdir():
            comm = (thread / "comm").read_text().strip()
            print(comm, os.getpriority(os.PRIO_PROCESS, int(thread.name)))
    """
    if not probe("vulkan").names[0].startswith("llvmpipe"):
        pytest.skip("a real GPU's driver sleeps while it waits")
    run = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    rows = [line.rsplit(" ", 1) for line in run.stdout.splitlines()]
    computing = [nice for name, nice in rows if name.startswith("llvmpipe")]
    assert computing
    assert set(computing) == {"0"}
    assert "19" in [nice for _, nice in rows]


def test_local_devices_are_always_there() -> None:
    for driver in ("local-sync", "local-task"):
        found = probe(driver)
        assert found.available
        assert found.names
        assert not found.reason


def test_every_driver_is_reported_with_a_reason() -> None:
    found = {a.driver: a for a in probe_all()}
    assert list(found) == ["local-sync", "local-task", "vulkan", "cuda", "hip", "metal"]
    for item in found.values():
        assert item.available or item.driver in item.reason
    assert "no such driver; metal needs macOS" in found["metal"].reason


@pytest.mark.skipif(probe("hip").available, reason="a HIP device is here")
def test_reason_of_a_missing_driver_is_short_and_says_what_to_install() -> None:
    with pytest.raises(runtime.DeviceNotFoundError, match=r"libamdhip64\.so.*install ROCm") as e:
        open_device("hip")
    assert "[ 0]" not in str(e.value)


def test_no_vulkan_driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices.iree, "available_devices", lambda _: [])
    found = probe("vulkan")
    assert not found.available
    assert "lists no device; install a Vulkan 1.3 driver" in found.reason


def test_a_device_is_opened_once() -> None:
    assert open_device("local-sync") is open_device("local-sync")


@pytest.mark.parametrize("spec", ["", "gpu", "vulkan2", "local"])
def test_unknown_specs(spec: str) -> None:
    with pytest.raises(runtime.DeviceNotFoundError, match=r"unknown driver .* expected one of"):
        open_device(spec)


@pytest.mark.vulkan
def test_device_by_path() -> None:
    listed = devices.iree.available_devices("vulkan")
    found = open_device(f"vulkan://{listed[0]['path']}")
    assert found.name == listed[0]["name"]
    with pytest.raises(runtime.DeviceNotFoundError, match="cannot be opened"):
        open_device("vulkan://GPU-00000000000000000000000000000000")


# Choosing one.


def test_small_states_run_on_the_calling_thread() -> None:
    assert choose_device(manifest(), None) == "local-sync"
    large = handmade.adam_manifest({"/w": (devices.SMALL_STATE,)})
    assert choose_device(large, None) == "local-task"
    assert choose_device(large, "local-sync") == "local-sync"


def test_targets_choose_their_driver() -> None:
    for device in ("vulkan", "cuda", "hip", "metal"):
        target = Target("x", "x", device)
        assert choose_device(manifest(targets=(target,)), None) == device


@pytest.mark.parametrize(("device", "spec"), [("local", "vulkan"), ("vulkan", "local-sync")])
def test_device_of_another_kind(device: str, spec: str) -> None:
    target = Target("mine", "x", device)
    message = rf"target 'mine', which runs on {device}.*got device '{spec}'"
    with pytest.raises(runtime.DeviceMismatchError, match=message):
        choose_device(manifest(targets=(target,)), spec)


# Versions and CPUs.


def test_versions() -> None:
    check_version(manifest(iree_version="3.13.1"))
    with pytest.raises(runtime.VersionMismatchError, match=r"compiled by IREE 3\.9\.0.*==3\.9\.0"):
        check_version(manifest(iree_version="3.9.0"))


def test_another_architecture() -> None:
    here = host_architecture()
    check_cpu(Target("cpu", "llvm-cpu", "local", here))
    check_cpu(Target("vmvx", "vmvx", "local"))
    message = (
        rf"native code for sparc9, this machine is {here}; compile it with --target cpu:{here}"
    )
    with pytest.raises(runtime.CpuMismatchError, match=message):
        check_cpu(Target("cpu", "llvm-cpu", "local", "sparc9"))


# GPU families.


def device(name: str) -> devices.Device:
    return dataclasses.replace(open_device("local-sync"), driver="vulkan", name=name)


FAMILIES = [
    ("llvmpipe", "llvmpipe (LLVM 15.0.6, 256 bits)"),
    ("adreno-740", "Adreno (TM) 740"),
    ("valhall4", "Mali-G715"),
    ("rdna3", "AMD Radeon RX 7900 XTX (RADV NAVI31)"),
    ("gfx1100", "AMD Radeon Graphics"),
    ("ampere", "NVIDIA GeForce RTX 3080"),
    ("sm_86", "NVIDIA A10"),
    ("videocore_vii", "V3D 7.1"),
]


@pytest.mark.parametrize(("family", "name"), FAMILIES)
def test_families(family: str, name: str) -> None:
    for other, device_name in FAMILIES:
        target = Target(f"vulkan:{family}", "vulkan-spirv", "vulkan", iree_target=family)
        same = device_name == name or {family, other} in ({"rdna3", "gfx1100"}, {"ampere", "sm_86"})
        if same:
            check_gpu(target, device(device_name))
            continue
        with pytest.raises(runtime.DeviceMismatchError, match=f"compiled for {family!r}"):
            check_gpu(target, device(device_name))


@pytest.mark.parametrize("family", [None, "", "vp_android_baseline_2022", "unheard-of"])
def test_portable_code_runs_anywhere(family: str | None) -> None:
    for _, name in FAMILIES:
        check_gpu(Target("vulkan", "vulkan-spirv", "vulkan", iree_target=family), device(name))


# The self-test.


@pytest.mark.compiler
def test_self_test_passes(place: Any) -> None:
    with variants.self_testing(handmade.SELF_TEST, place.target).load(device=place.device) as step:
        assert step.functions == ("step",)


WRONG_MAP = handmade.SELF_TEST.replace("dense<2.0>", "dense<2.5>")
WRONG_SUM = handmade.SELF_TEST.replace("return %b, %s", "return %b, %zero")


@pytest.mark.compiler
@pytest.mark.parametrize(
    ("text", "message"),
    [
        (WRONG_MAP, r"40\d\d of 4096 elements are wrong"),
        (WRONG_SUM, r"0 of 4096 elements are wrong, a sum is 0\.0 and should be 3628\.0"),
    ],
)
def test_wrong_numbers_are_refused(text: str, message: str) -> None:
    with pytest.raises(runtime.DeviceMismatchError, match=message):
        variants.self_testing(text, "cpu").load()


@pytest.mark.compiler
def test_load_checks_before_opening(monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = handmade.sgd(SHAPES)

    def refuse(_: str) -> None:
        pytest.fail("a device was opened")

    monkeypatch.setattr("stepforge.runtime.loading.open_device", refuse)
    foreign = Target("cpu:sparc9", "llvm-cpu", "local", "sparc9")
    with pytest.raises(runtime.CpuMismatchError):
        variants.with_manifest(artifact, targets=(foreign,)).load()
    with pytest.raises(runtime.VersionMismatchError):
        variants.with_manifest(artifact, iree_version="2.0.0").load()
    with pytest.raises(runtime.DeviceMismatchError):
        artifact.load(device="vulkan")


def test_self_test_that_the_device_breaks_off() -> None:
    class Broken:
        device = open_device("local-sync")

        def call(self, *_: Any) -> None:
            raise RuntimeError("x.c:1: DEVICE_LOST; gone;\n[ 0] stack")

    module: Any = Broken()
    target = dataclasses.replace(manifest().targets[0], self_test=True)
    with pytest.raises(runtime.DeviceMismatchError, match=r"cannot run .*DEVICE_LOST; gone; comp"):
        device_check.self_test(module, target)
