"""Every failure of the runtime, one class per reason.

All derive from `StepforgeRuntimeError`. Each message says the rule, what was expected, what was
got, where, and what to do. After any of them except `StateLostError` the state is as it was, but
for a `DeviceMemoryError` from reading the counts for a tracer: that step has been taken.
"""


class StepforgeRuntimeError(Exception):
    """Root of all errors raised by `stepforge.runtime`."""


class ArtifactError(StepforgeRuntimeError):
    """An artifact cannot be used. The subclasses say why."""


class ArtifactCorruptError(ArtifactError):
    """The file is truncated, changed, or has bytes before or after it: its digest does not hold."""


class ArtifactFormatError(ArtifactError):
    """The file is whole, but is no stepforge artifact, or its manifest breaks a rule or bound."""


class SignatureError(ArtifactError):
    """A signature was asked for, and the artifact's does not stand. The subclasses say why."""


class SignatureMissingError(SignatureError):
    """The artifact has no signature."""


class SignatureInvalidError(SignatureError):
    """The artifact's signature is of another key, or of another artifact than this one is now."""


class VersionMismatchError(ArtifactError):
    """The artifact needs another format version or another IREE release than the one here."""


class CpuMismatchError(ArtifactError):
    """The artifact holds native code for another processor than the one here."""


class TrialCrashError(ArtifactError):
    """The artifact's code crashed in the process of its own that tried it (`isolate=True`)."""


class TrialTimeoutError(ArtifactError):
    """The artifact's code did not end in time in the process that tried it (`isolate=True`)."""


class DeviceError(StepforgeRuntimeError):
    """A device cannot be used. The subclasses say why."""


class DeviceNotFoundError(DeviceError):
    """No device of the kind the artifact or the caller asks for can be opened here."""


class DeviceMismatchError(DeviceError):
    """The device is there, but gives wrong numbers, or lacks what the artifact's code needs."""


class DeviceMemoryError(DeviceError):
    """The device failed to allocate, read or write its memory outside of a step."""


class HostMemoryError(DeviceError):
    """A view was asked for, but the memory is the device's own."""


class ForkedProcessError(DeviceError):
    """A step was used in a forked child: the device's threads stayed in the parent."""


class InputError(StepforgeRuntimeError, ValueError):
    """A value given by the caller has a wrong name, shape, dtype or type."""


class ConversionError(InputError):
    """A state of another library, or for one, would mean something else on the other side."""


class SigningKeyError(InputError):
    """A key is no Ed25519 key in PEM, the other half of a pair, or encrypted."""


class GradientError(InputError):
    """A gradient has a wrong name, shape, dtype or type."""


class HyperparameterError(InputError):
    """A hyperparameter is unknown, baked into the artifact, or given a value it cannot take."""


class UnknownNameError(InputError, KeyError):
    """No parameter, variable or function of that name; the message lists the nearest."""

    def __str__(self) -> str:
        # KeyError prints the repr of its argument, which would quote and escape the message.
        return str(self.args[0]) if self.args else ""


class UnknownHyperparameterError(HyperparameterError, UnknownNameError):
    """No hyperparameter of that name; the message has the nearest."""


class BatchError(InputError):
    """There are no batches, fewer than were used before, or something that is no batch."""


class NotInitializedError(StepforgeRuntimeError):
    """State was used before `initialize` or `restore`."""


class StateLostError(StepforgeRuntimeError):
    """The device failed in a step or in replacing values, or was broken off there: restore from a
    checkpoint, or initialize again.
    """


class StepFailedError(DeviceError):
    """The device failed in a step that updates by ping-pong, or in replacing its state: the state
    is the one of before, and can be read, saved and stepped on from.
    """


class BusyError(StepforgeRuntimeError):
    """A signal handler or callback used what its own thread was in the middle of changing."""


class ClosedError(StepforgeRuntimeError):
    """The step's state or gradients were used after `close`."""


class CheckpointError(StepforgeRuntimeError):
    """A checkpoint is corrupt, or does not fit the step it is restored into."""


class CheckpointWriteError(CheckpointError):
    """Saving failed; what was there before is untouched, unless the text says that the new file is
    in its place and may not outlast a crash.
    """


class CheckpointWarning(UserWarning):
    """A checkpoint was passed over, or an old one could not be removed. A warning, not an error."""


class ArtifactWriteError(ArtifactError):
    """Writing an artifact failed or was refused; what was there before is untouched, unless the
    text says that the new file is in its place and may not outlast a crash.
    """


class HistoryWriteError(StepforgeRuntimeError):
    """Writing a history failed; what was there before is untouched."""


class MissingExtraError(StepforgeRuntimeError, ImportError):
    """An optional package is not installed; the message has the command that installs it."""
