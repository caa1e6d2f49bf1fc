"""Loading refuses an artifact for one reason at a time, in one order, with a class for each.

The rows of `FAULTS` stand in the order of the checks. Each test gives an artifact its row's fault
and all those below: the first one is reported, and none of it came near IREE.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from stepforge import runtime
from stepforge.runtime import container, executor, loading
from stepforge.runtime.cpu_features import host_architecture
from stepforge.runtime.signatures import new_key_pair, signed
from support import forgeries, handmade, variants

pytestmark = pytest.mark.compiler

SHAPES = {"/w": (4,)}
PUBLIC_KEY = new_key_pair()[1]


@dataclass
class Draft:
    """An artifact that is being spoilt: its manifest first, then its bytes."""

    plain: bytes
    document: dict[str, Any]
    manifest: bytes | None = None
    changes: list[Callable[[bytes], bytes]] = field(default_factory=list[Any])
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    @property
    def target(self) -> dict[str, Any]:
        return self.document["targets"][0]

    def bytes(self) -> bytes:
        text = json.dumps(self.document).encode() if self.manifest is None else self.manifest
        data = forgeries.with_entries(self.plain, stepforge_json=text)
        for change in self.changes:
            data = change(data)
        return data


@dataclass(frozen=True, slots=True)
class Fault:
    name: str
    error: type[runtime.StepforgeRuntimeError]
    text: str
    spoil: Callable[[Draft], object]


def end_record(data: bytes) -> bytes:
    body = bytearray(data)
    struct.pack_into("<H", body, len(body) - 81 - 22 + 4, 1)
    return forgeries.resealed(bytes(body))


def flipped(data: bytes) -> bytes:
    return data[:100] + bytes([data[100] ^ 1]) + data[101:]


def second_manifest(data: bytes) -> bytes:
    """The entry of the graph is called what the manifest is called."""
    name = b"stepforge.json"
    renamed = data.replace(b"module.fb", name[:9]).replace(b"graph.json", name[:10])
    return forgeries.resealed(renamed)


CORRUPT, FORMAT = runtime.ArtifactCorruptError, runtime.ArtifactFormatError
VERSION, CPU = runtime.VersionMismatchError, runtime.CpuMismatchError
FAULTS = (
    Fault(
        "bytes in front", CORRUPT, r"bytes were added in front: it should start with b'PK",
        lambda d: d.changes.append(lambda data: b"#!" + data),
    ),
    Fault(
        "bytes missing", CORRUPT, r"no stepforge digest at the end \(\d+ bytes\): .* truncated",
        lambda d: d.changes.append(lambda data: data[:-1]),
    ),
    Fault(
        "a byte changed", CORRUPT, r"changed or damaged: its SHA-256 is [0-9a-f]{64}, it carries",
        lambda d: d.changes.append(flipped),
    ),
    Fault(
        "the end record", FORMAT, "the ZIP end record does not fit the file",
        lambda d: d.changes.append(end_record),
    ),
    Fault(
        "signed by another", runtime.SignatureInvalidError, "it was made with another key",
        lambda d: d.changes.append(lambda data: signed("draft", data, new_key_pair()[0])),
    ),
    Fault(
        "no signature", runtime.SignatureMissingError, "a signature was asked for",
        lambda d: d.options.update(public_key=PUBLIC_KEY),
    ),
    Fault(
        "other entries", FORMAT, r"expected the entries \['stepforge.json', 'graph.json'\] once",
        lambda d: d.changes.append(second_manifest),
    ),
    Fault(
        "a manifest past its size", FORMAT, r"stepforge.json may have at most \d+ bytes, got \d+",
        lambda d: setattr(d, "manifest", b" " * (container.MAX_MANIFEST + 1)),
    ),
    Fault(
        "a manifest that is no JSON", FORMAT, "not strict JSON: an object repeats a key",
        lambda d: setattr(d, "manifest", b'{"abi": 1, "abi": 1}'),
    ),
    Fault(
        "another format", VERSION, "reads format version 1, the artifact has 9; compile it again",
        lambda d: d.document.update(format_version=9),
    ),
    Fault(
        "a key too many", FORMAT, "expected the keys .* and no other",
        lambda d: d.document.update(extra=0),
    ),
    Fault(
        "a wrong type", FORMAT, r"formula: expected a string of at most 1024 characters, got 5",
        lambda d: d.document.update(formula=5),
    ),
    Fault(
        "a list past its bound", FORMAT, r"facts: at most 256 items are allowed, got 257",
        lambda d: d.document.update(facts=[["a", "b"]] * 257),
    ),
    Fault(
        "another calling convention", VERSION, "format version 1, ABI 2: this runtime reads",
        lambda d: d.document.update(abi=2),
    ),
    Fault(
        "a broken rule", FORMAT, "manifest: alignment is a power of two up to 64",
        lambda d: d.document.update(alignment=128),
    ),
    Fault(
        "another release of IREE", VERSION, r"compiled by IREE 2\.0\.0, this runtime is IREE",
        lambda d: d.document.update(iree_version="2.0.0"),
    ),
    Fault(
        "another architecture", CPU, "native code for sparc9, this machine is",
        lambda d: d.target.update(arch="sparc9"),
    ),
    Fault(
        "features of another processor", CPU, "features that this machine lacks: avx99; compile it",
        lambda d: d.target.update(arch=host_architecture(), cpu_features=["+avx99"]),
    ),
    Fault(
        "a device of another kind", runtime.DeviceMismatchError,
        "runs on local-sync or local-task; got device 'vulkan'",
        lambda d: d.options.update(device="vulkan"),
    ),
)  # fmt: skip


@pytest.fixture(scope="module")
def plain() -> bytes:
    return handmade.sgd(SHAPES).vmfb_bytes


def draft(plain: bytes, *faults: Fault) -> Draft:
    """With the faults of the last checks put in first, so that those before are over them."""
    made = Draft(plain, json.loads(forgeries.entry(plain, "stepforge.json")))
    for fault in reversed(faults):
        fault.spoil(made)
    return made


@pytest.mark.parametrize("index", range(len(FAULTS)), ids=[fault.name for fault in FAULTS])
@pytest.mark.parametrize("alone", [True, False], ids=["alone", "with all that follow"])
def test_the_first_fault_is_reported(
    index: int, alone: bool, plain: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = FAULTS[index]
    faults = [fault] if alone else FAULTS[index:]
    if fault.error is runtime.SignatureInvalidError and alone:
        faults = FAULTS[index : index + 2]  # without being asked for it would not be looked at
    made = draft(plain, *faults)
    data = made.bytes()
    forgeries.put_iree_out_of_reach(monkeypatch)
    with pytest.raises(fault.error) as caught:
        runtime.load(data, **made.options)
    assert type(caught.value) is fault.error
    assert re.search(fault.text, str(caught.value)), str(caught.value)


def test_without_a_fault_it_loads(plain: bytes) -> None:
    with runtime.load(draft(plain).bytes()) as step:
        assert step.functions == ("step",)


# What only a device can say. IREE's drivers are asked, and given no byte of the artifact.


@pytest.fixture
def no_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("IREE was given the artifact")

    monkeypatch.setattr(executor, "load_vm", refuse)


@pytest.mark.usefixtures("no_bytes")
@pytest.mark.skipif(runtime.probe("hip").available, reason="a HIP device is here")
def test_no_such_device_here(plain: bytes) -> None:
    made = draft(plain)
    made.target.update(device="hip", arch="")
    with pytest.raises(runtime.DeviceNotFoundError, match="install ROCm's HIP runtime"):
        runtime.load(made.bytes())


@pytest.mark.vulkan
@pytest.mark.usefixtures("no_bytes")
def test_a_device_of_another_family(plain: bytes) -> None:
    made = draft(plain)
    made.target.update(device="vulkan", iree_target="unicorn", name="vulkan:unicorn")
    name = runtime.probe("vulkan").names[0].lower()
    family = next(f for f in ("adreno", "videocore_vii") if f[:5] not in name)
    made.target.update(iree_target=family)
    with pytest.raises(runtime.DeviceMismatchError, match=f"was compiled for '{family}'"):
        runtime.load(made.bytes())


# What only running it can say.


@pytest.mark.vulkan
def test_code_that_the_device_cannot_load() -> None:
    """The manifest says `local`; the code is SPIR-V."""
    made = draft(handmade.sgd(SHAPES, "vulkan").vmfb_bytes)
    made.target.update(device="local")
    with pytest.raises(runtime.DeviceMismatchError, match="cannot load the module's code"):
        runtime.load(made.bytes())


def test_code_that_computes_wrong() -> None:
    wrong = handmade.SELF_TEST.replace("dense<2.0>", "dense<2.5>")
    with pytest.raises(runtime.DeviceMismatchError, match="fails the artifact's self-test"):
        variants.self_testing(wrong).load()


def test_load_names_what_it_raises() -> None:
    """Those that stand here, in test_signatures.py and in test_isolated_loading.py."""
    named = set(re.findall(r"\b[A-Z]\w+Error\b", loading.load.__doc__ or ""))
    elsewhere = {"SigningKeyError", "MissingExtraError", "TrialCrashError", "TrialTimeoutError"}
    here = {fault.error.__name__ for fault in FAULTS} | {"DeviceNotFoundError"}
    assert named == here | elsewhere
