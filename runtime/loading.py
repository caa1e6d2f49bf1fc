"""From a file to a `CompiledStep`: everything is checked before IREE sees a byte."""

from __future__ import annotations

import os
from functools import partial

from stepforge.runtime.container import Artifact, read_artifact
from stepforge.runtime.device_check import check_cpu, check_gpu, check_version, self_test
from stepforge.runtime.devices import choose_device, open_device
from stepforge.runtime.errors import InputError
from stepforge.runtime.executor import Module
from stepforge.runtime.isolated import try_elsewhere
from stepforge.runtime.manifest import Manifest
from stepforge.runtime.signatures import Key, check_signature
from stepforge.runtime.step import CompiledStep

TRIAL_SECONDS = 60.0


def load(
    source: str | os.PathLike[str] | bytes | Artifact,
    *,
    device: str | None = None,
    storage: str = "owned",
    public_key: Key | None = None,
    isolate: bool = False,
    timeout: float = TRIAL_SECONDS,
) -> CompiledStep:
    """Load an artifact on a device and return its step, not yet initialized.

    source: a path, the file's bytes, or an Artifact; device: IREE's name of one, as "local-sync",
    "local-task", "vulkan" or "vulkan://GPU-...", by default chosen by target and size (of any
    length: by the size of the variables, once there are some);
    storage: "owned", the step's own memory; "adopt", for parameters the arrays that `initialize` is
    given, on the host's memory and of an artifact without arenas: every step then writes into them.
    public_key: an Ed25519 key in PEM, as bytes or as the path of a file; with it an artifact is
    refused that was not signed with the private half.
    isolate: first load it in a process of its own and call each entry point once, on zeros, within
    `timeout` seconds: code that crashes or hangs does so there. It costs a start of Python, and
    for that time the memory of a second state.
    Raises ArtifactCorruptError, ArtifactFormatError, VersionMismatchError, CpuMismatchError,
    DeviceNotFoundError and DeviceMismatchError; with `isolate` also TrialCrashError and
    TrialTimeoutError; with `public_key` also SignatureMissingError, SignatureInvalidError,
    SigningKeyError and MissingExtraError.
    """
    if storage not in ("owned", "adopt"):
        raise InputError(f"storage: expected 'owned' or 'adopt', got {storage!r}")
    if isinstance(source, Artifact):
        artifact = source
        if public_key is not None:
            check_signature("artifact", artifact.vmfb_bytes, public_key)
    else:
        artifact = read_artifact(source, public_key=public_key)
    free = artifact.manifest.length is not None
    if free and storage == "adopt":
        raise InputError(
            "storage='adopt': an artifact of any length keeps its variables together in arenas; "
            "compile one for the parameters of the model, with layout='separate' (--layout "
            "separate), so that each has memory of its own"
        )
    opened = load_module(artifact, device, timeout if isolate else None)
    return CompiledStep(
        artifact.manifest,
        opened,
        artifact.sha256,
        adopt=storage == "adopt",
        reopen=partial(_reopened, artifact, opened) if free and device is None else None,
    )


def _reopened(artifact: Artifact, opened: Module, manifest: Manifest) -> Module:
    """The module on the device for variables of this size, which may be another one."""
    spec = choose_device(manifest, None)
    return opened if spec == opened.device.spec else load_module(artifact, spec)


def load_module(
    artifact: Artifact, device: str | None = None, trial_seconds: float | None = None
) -> Module:
    """The artifact's module on a device that was found fit for it. Raises as `load` does.

    trial_seconds: the time that a process of its own is given to try it first; None: no trial.
    """
    manifest = artifact.manifest
    target = manifest.targets[0]
    check_version(manifest)
    if target.device == "local":
        check_cpu(target)
    spec = choose_device(manifest, device)
    if trial_seconds is not None:
        try_elsewhere(artifact, spec, trial_seconds)
    opened = open_device(spec)
    check_gpu(target, opened)
    module = Module(artifact.vmfb_bytes, opened)
    self_test(module, target)
    return module
