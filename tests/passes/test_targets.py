"""Names of targets: what each means, and what is said about those that mean nothing."""

from __future__ import annotations

import platform

import pytest

from stepforge.passes import (
    PassError,
    UnknownTargetError,
    UnsupportedDTypeError,
    check_dtypes,
    parse_target,
    target_names,
    targets,
)

pytestmark = pytest.mark.compiler

# name -> (name in the manifest, backend, driver, flags it must have)
NAMES = {
    "cpu:x86_64": ("cpu:x86_64", "cpu", "local", ["--iree-llvmcpu-target-cpu=x86-64-v3"]),
    "cpu:amd64:haswell+gfni": (
        "cpu:x86_64:haswell+gfni",
        "cpu",
        "local",
        ["--iree-llvmcpu-target-cpu=haswell", "--iree-llvmcpu-target-cpu-features=+gfni"],
    ),
    "cpu:arm64": ("cpu:aarch64", "cpu", "local", ["--iree-llvmcpu-target-cpu=generic"]),
    "cpu:aarch64:cortex-a72": (
        "cpu:aarch64:cortex-a72",
        "cpu",
        "local",
        ["--iree-llvmcpu-target-cpu=cortex-a72"],
    ),
    "cpu:riscv64": ("cpu:riscv64", "cpu", "local", ["--iree-llvmcpu-target-abi=lp64d"]),
    "cpu:armv7+vfp4": (
        "cpu:armv7+vfp4",
        "cpu",
        "local",
        ["--iree-llvmcpu-target-cpu-features=+vfp3,+neon,+vfp4"],
    ),
    "vulkan": ("vulkan", "vulkan", "vulkan", ["--iree-vulkan-target=vp_android_baseline_2022"]),
    "vulkan:ADRENO": ("vulkan:adreno", "vulkan", "vulkan", ["--iree-vulkan-target=adreno"]),
    "vulkan:mali-g715": ("vulkan:mali-g715", "vulkan", "vulkan", ["--iree-vulkan-target=valhall4"]),
    "vulkan:ampere": ("vulkan:ampere", "vulkan", "vulkan", ["--iree-vulkan-target=sm_80"]),
    "cuda": ("cuda", "cuda", "cuda", ["--iree-cuda-target=sm_80"]),
    "cuda:sm_90": ("cuda:sm_90", "cuda", "cuda", ["--iree-cuda-target=sm_89"]),
    "rocm:gfx942": ("rocm:gfx942", "rocm", "hip", ["--iree-rocm-target=gfx942"]),
    "metal": ("metal", "metal", "metal", ["--iree-metal-compile-to-metallib=false"]),
    "vmvx": ("vmvx", "vmvx", "local", ["--iree-hal-local-target-device-backends=vmvx"]),
}


@pytest.mark.parametrize("text", NAMES)
def test_names_and_aliases(text: str) -> None:
    target = parse_target(text)
    name, backend, device, flags = NAMES[text]
    assert (target.name, target.backend, target.device) == (name, backend, device)
    assert set(flags) <= set(target.flags)


@pytest.mark.parametrize("name", target_names())
def test_a_name_in_the_list_parses_to_itself(name: str) -> None:
    target = parse_target(name)
    assert target.name == name
    assert parse_target(target.name) == target
    assert target.description().startswith(f"{name}: ")


UNKNOWN = {
    "cpuu": "did you mean cpu or cuda?",
    "adreno": "did you mean vulkan:adreno?",
    "sm_80": "did you mean vulkan:sm_80 or cuda:sm_80?",
    "gfx942": "did you mean rocm:gfx942?",
    "aarch64": "did you mean cpu:aarch64?",
    "": "targets are cpu, vulkan, cuda, rocm, metal, vmvx",
    "cpu:": "ends in a colon",
    "cpu:x86": "did you mean cpu:x86_64?",
    "cpu:aarch64:cortex-a7": "did you mean cpu:aarch64:cortex-a78",
    "cpu:aarch64:": "there is no processor cpu:aarch64:",
    "cpu:armv7:cortex-a7": "takes no processor",
    "cpu:x86_64+avx512": "did you mean avx512f",
    "cpu:x86_64+aes": "has no extension +aes",
    "cpu:riscv64:sifive-s51": "lacks f, d",
    "vulkan:adrenoo": "did you mean vulkan:adreno",
    "cuda:sm_91": "did you mean cuda:sm_90",
    "rocm": "needs the architecture of the GPU",
    "rocm:gfx1030": "there is no target rocm:gfx1030",
    "metal:m1": "takes no further name",
    "vmvx:x": "takes no further name",
}


@pytest.mark.parametrize("text", UNKNOWN)
def test_unknown_names_are_answered_with_near_ones(text: str) -> None:
    with pytest.raises(UnknownTargetError) as caught:
        parse_target(text)
    assert UNKNOWN[text] in str(caught.value)
    assert isinstance(caught.value, PassError)


def test_the_host_is_spelled_out_and_names_the_portable_target() -> None:
    target = parse_target("cpu")
    flags = " ".join(target.flags)
    assert "=host" not in flags
    assert f"target-cpu={target.cpu} " in flags
    assert all(f"{feature}" in flags for feature in target.cpu_features)
    assert target.notes == (
        f"cpu is this machine ({target.cpu}), and other processors may not run it; "
        f"--target cpu:{target.arch} is portable",
    )


@pytest.mark.skipif(platform.machine() != "x86_64", reason="reads the flags of x86 processors")
def test_the_host_has_every_extension_that_its_code_may_use() -> None:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        flags = next(line for line in file if line.startswith("flags")).partition(":")[2].split()
    # Where the kernel spells a name otherwise than LLVM.
    spelled = {"sse3": "pni", "lzcnt": "abm", "bmi": "bmi1", "avxvnni": "avx_vnni"}
    for feature in parse_target("cpu").cpu_features:
        name = feature.removeprefix("+")
        names = {name.replace(".", "_"), spelled.get(name, ""), name.replace("avx512", "avx512_")}
        assert names & set(flags), f"{feature} is not in /proc/cpuinfo"


def test_portable_x86_is_the_third_level() -> None:
    features = parse_target("cpu:x86_64").cpu_features
    assert {"+avx2", "+fma", "+f16c", "+bmi2"} <= set(features)
    assert not any(feature.startswith("+avx512") for feature in features)
    assert parse_target("cpu:x86_64:x86-64").cpu_features == ()


def test_hopper_is_compiled_as_ada_and_says_so() -> None:
    target = parse_target("cuda:sm_90")
    assert target.iree_target == "sm_89"
    assert "IREE 3.13 generates no code for sm_90" in target.notes[0]
    assert target.requirements == ("compute capability 8.9 or newer",)


def test_only_devices_that_may_lie_are_tested_before_use() -> None:
    tested = {parse_target(name).backend for name in target_names() if parse_target(name).self_test}
    assert tested == {"vulkan", "cuda", "rocm", "metal"}


def test_the_portable_profile_assumes_no_subgroup() -> None:
    assert parse_target("vulkan").subgroup_size is None
    assert parse_target("vulkan:llvmpipe").subgroup_size == 8
    assert parse_target("vulkan:adreno").subgroup_size == 64


REFUSED = {
    ("vulkan", "float16"): "--target vulkan:adreno",
    ("vulkan", "bfloat16"): "--target vulkan:adreno",
    ("vulkan", "bool"): "int32 in place of int8 and bool",
    ("vulkan", "float64"): "64-bit floats",
    ("vulkan", "int64"): "64-bit integers",
    ("vulkan:videocore_vii", "float16"): "garbage",
    ("vulkan:adreno", "bool"): "int32 in place of int8 and bool",
    ("vulkan:valhall4", "float64"): "use --target cpu, cuda or vmvx",
    ("vmvx", "float16"): "bfloat16 or float32",
    ("metal", "float64"): "Apple's GPUs",
}


@pytest.mark.parametrize(("name", "dtype"), REFUSED)
def test_dtypes_a_target_lacks_are_refused(name: str, dtype: str) -> None:
    with pytest.raises(UnsupportedDTypeError) as caught:
        check_dtypes(parse_target(name), ["float32", dtype])
    message = str(caught.value)
    assert f"target {name} cannot hold {dtype}" in message
    assert f"got {dtype}" in message
    assert REFUSED[name, dtype] in message


@pytest.mark.parametrize("name", target_names())
def test_every_target_has_32_bits(name: str) -> None:
    check_dtypes(parse_target(name), ["float32", "int32", "f32"])


@pytest.mark.parametrize("name", ["cpu:x86_64", "cuda", "vulkan:llvmpipe"])
def test_some_have_everything(name: str) -> None:
    dtypes = ("float16", "bfloat16", "float64", "int8", "int64", "bool")
    check_dtypes(parse_target(name), dtypes)


def test_the_listing_has_a_row_per_name() -> None:
    rows = {row.name: row for row in targets()}
    assert tuple(rows) == target_names()
    assert all(row.compiles for row in rows.values())
    assert "Vulkan 1.3" in rows["vulkan"].needs
    assert rows["cpu:x86_64"].needs.startswith("a processor with x86_64 and ")
    assert "f16" not in rows["vmvx"].dtypes
    assert "f16" in rows["vulkan:adreno"].dtypes
