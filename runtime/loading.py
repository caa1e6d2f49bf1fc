"""From a file to a `CompiledStep`: everything is checked before IREE sees a byte."""

from __future__ import annotations

import os

from stepforge.runtime.container import Artifact, read_artifact
from stepforge.runtime.device_check import check_cpu, check_gpu, check_version, self_test
from stepforge.runtime.devices import choose_device, open_device
from stepforge.runtime.errors import InputError
from stepforge.runtime.executor import Module
from stepforge.runtime.signatures import Key, check_signature
from stepforge.runtime.step import CompiledStep


def load(
    source: str | os.PathLike[str] | bytes | Artifact,
    *,
    device: str | None = None,
    storage: str = "owned",
    public_key: Key | None = None,
) -> CompiledStep:
    """Load an artifact on a device and return its step, not yet initialized.

    source: a path, the file's bytes, or an Artifact; device: IREE's name of one, as "local-sync",
    "local-task", "vulkan" or "vulkan://GPU-...", by default chosen by target and size;
    storage: "owned", the step's own memory; "adopt", for parameters the arrays that `initialize` is
    given, on the host's memory and of an artifact without arenas: every step then writes into them.
    public_key: an Ed25519 key in PEM, as bytes or as the path of a file; with it an artifact is
    refused that was not signed with the private half.
    Raises ArtifactCorruptError, ArtifactFormatError, VersionMismatchError, CpuMismatchError,
    DeviceNotFoundError and DeviceMismatchError; with `public_key` also SignatureMissingError,
    SignatureInvalidError, SigningKeyError and MissingExtraError.
    """
    if storage not in ("owned", "adopt"):
        raise InputError(f"storage: expected 'owned' or 'adopt', got {storage!r}")
    if isinstance(source, Artifact):
        artifact = source
        if public_key is not None:
            check_signature("artifact", artifact.vmfb_bytes, public_key)
    else:
        artifact = read_artifact(source, public_key=public_key)
    opened = load_module(artifact, device)
    return CompiledStep(artifact.manifest, opened, artifact.sha256, adopt=storage == "adopt")


def load_module(artifact: Artifact, device: str | None = None) -> Module:
    """The artifact's module on a device that was found fit for it. Raises as `load` does."""
    manifest = artifact.manifest
    target = manifest.targets[0]
    check_version(manifest)
    if target.device == "local":
        check_cpu(target)
    opened = open_device(choose_device(manifest, device))
    check_gpu(target, opened)
    module = Module(artifact.vmfb_bytes, opened)
    self_test(module, target)
    return module
