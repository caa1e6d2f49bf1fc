"""Load a compiled optimizer and step it: needs no compiler and no framework.

    from stepforge import runtime

    with runtime.load("adamw.cpu.vmfb") as optimizer:
        optimizer.initialize(parameters)
        optimizer.step(gradients)

Errors and manifest values are here at once; what needs IREE is imported on first use, so that
importing this package stays quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from stepforge.runtime.errors import (
    ArtifactCorruptError,
    ArtifactError,
    ArtifactFormatError,
    ArtifactWriteError,
    BatchError,
    BusyError,
    CheckpointError,
    CheckpointWarning,
    CheckpointWriteError,
    ClosedError,
    ConversionError,
    CpuMismatchError,
    DeviceError,
    DeviceMemoryError,
    DeviceMismatchError,
    DeviceNotFoundError,
    ForkedProcessError,
    GradientError,
    HistoryWriteError,
    HostMemoryError,
    HyperparameterError,
    InputError,
    MissingExtraError,
    NotInitializedError,
    SignatureError,
    SignatureInvalidError,
    SignatureMissingError,
    SigningKeyError,
    StateLostError,
    StepFailedError,
    StepforgeRuntimeError,
    TrialCrashError,
    TrialTimeoutError,
    UnknownHyperparameterError,
    UnknownNameError,
    VersionMismatchError,
)

if TYPE_CHECKING:
    from stepforge.runtime.checkpoint import Snapshot
    from stepforge.runtime.checkpoints import Checkpoints, Restored
    from stepforge.runtime.container import Artifact, read_artifact, sign_artifact
    from stepforge.runtime.convert import Imported, export_state, import_state
    from stepforge.runtime.devices import Availability, probe, probe_all
    from stepforge.runtime.early_stop import EarlyStop
    from stepforge.runtime.events import EpochEnd, Event, Saved, StepEnd
    from stepforge.runtime.history import History, Row
    from stepforge.runtime.loading import load
    from stepforge.runtime.manifest import Manifest
    from stepforge.runtime.nan_logger import NanLogger, NanReport, Tracer
    from stepforge.runtime.shards import ArenaRange, Piece, shard_ranges
    from stepforge.runtime.signatures import new_key_pair
    from stepforge.runtime.step import CompiledStep
    from stepforge.runtime.trainer import Trainer

__all__ = [
    "ArenaRange",
    "Artifact",
    "ArtifactCorruptError",
    "ArtifactError",
    "ArtifactFormatError",
    "ArtifactWriteError",
    "Availability",
    "BatchError",
    "BusyError",
    "CheckpointError",
    "CheckpointWarning",
    "CheckpointWriteError",
    "Checkpoints",
    "ClosedError",
    "CompiledStep",
    "ConversionError",
    "CpuMismatchError",
    "DeviceError",
    "DeviceMemoryError",
    "DeviceMismatchError",
    "DeviceNotFoundError",
    "EarlyStop",
    "EpochEnd",
    "Event",
    "ForkedProcessError",
    "GradientError",
    "History",
    "HistoryWriteError",
    "HostMemoryError",
    "HyperparameterError",
    "Imported",
    "InputError",
    "Manifest",
    "MissingExtraError",
    "NanLogger",
    "NanReport",
    "NotInitializedError",
    "Piece",
    "Restored",
    "Row",
    "Saved",
    "SignatureError",
    "SignatureInvalidError",
    "SignatureMissingError",
    "SigningKeyError",
    "Snapshot",
    "StateLostError",
    "StepEnd",
    "StepFailedError",
    "StepforgeRuntimeError",
    "Tracer",
    "Trainer",
    "TrialCrashError",
    "TrialTimeoutError",
    "UnknownHyperparameterError",
    "UnknownNameError",
    "VersionMismatchError",
    "export_state",
    "import_state",
    "load",
    "new_key_pair",
    "probe",
    "probe_all",
    "read_artifact",
    "shard_ranges",
    "sign_artifact",
]

_LAZY = {
    "ArenaRange": "shards",
    "Artifact": "container",
    "Availability": "devices",
    "Checkpoints": "checkpoints",
    "CompiledStep": "step",
    "EarlyStop": "early_stop",
    "EpochEnd": "events",
    "Event": "events",
    "History": "history",
    "Imported": "convert",
    "Manifest": "manifest",
    "NanLogger": "nan_logger",
    "NanReport": "nan_logger",
    "Piece": "shards",
    "Restored": "checkpoints",
    "Row": "history",
    "Saved": "events",
    "Snapshot": "checkpoint",
    "StepEnd": "events",
    "Tracer": "nan_logger",
    "Trainer": "trainer",
    "export_state": "convert",
    "import_state": "convert",
    "load": "loading",
    "new_key_pair": "signatures",
    "probe": "devices",
    "probe_all": "devices",
    "read_artifact": "container",
    "shard_ranges": "shards",
    "sign_artifact": "container",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
