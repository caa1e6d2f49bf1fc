"""IREE's compiler, run inside this process: one module taken through its phases.

IREE reports through diagnostics, which become `Diagnostic` values. What its tools print (the
linker, LLVM's option parser) goes to the file descriptor of stderr, so that descriptor is led
into a file while IREE works; it is shared by all threads, hence the lock. A fatal error of LLVM
ends the process: `stepforge.passes.isolated` runs a compilation in a process of its own.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import re
import tempfile
import threading
from collections.abc import Generator, Sequence
from typing import Literal, Self

from iree.compiler.api import Invocation, Output, Session, ctypes_dl

from stepforge.passes.bindings import ir
from stepforge.passes.errors import CompileError, Diagnostic, Severity

#: The phases at which a module can be looked at, of those IREE names, in order.
Phase = Literal["preprocessing", "stream", "executable-configurations", "executable-targets", "end"]

#: For every target: the calling convention, float64 kept as it is, no source lines and no folding
#: of constants by running code on the machine that compiles: the bytes depend on the module alone.
COMMON_FLAGS = (
    "--iree-execution-model=async-external",
    "--iree-input-demote-f64-to-f32=false",
    "--iree-opt-const-eval=false",
    "--iree-hal-executable-debug-level=0",
    "--iree-vm-bytecode-module-strip-source-map=true",
    "--iree-vm-bytecode-module-strip-debug-ops=true",
)

# What the flag --iree-stream-resource-alias-mutable-bindings=true means, for one module: the flag
# is global to the process, can be set once, and would change what else compiles here. It merges
# the read and the write binding of a buffer that is updated in place; without it the CUDA backend
# tells LLVM that they do not alias. The other entries are IREE's defaults.
_RESOURCES = (
    "#stream.resource_config<{max_allocation_size = 9223372036854775807, "
    "min_buffer_offset_alignment = 64, max_buffer_range = 9223372036854775807, "
    "min_buffer_range_alignment = 64, index_bits = 64, alias_mutable_bindings = true, "
    "memory_model = Unified}>"
)

_SEVERITIES: tuple[Severity, ...] = ("note", "warning", "error", "remark")
_PLACE = re.compile(r"(?P<file>[^\n]*?):(?P<line>\d+)(:\d+)?: ")
_LOCK = threading.RLock()

_dylib = ctypes_dl._dylib  # pyright: ignore[reportPrivateUsage] -- no public way to set a phase
_OnDiagnostic = ctypes.CFUNCTYPE(
    None, ctypes.c_int, ctypes.c_void_p, ctypes.c_size_t, ctypes.c_void_p
)
_OnName = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_void_p)
_enable_diagnostics = _dylib.ireeCompilerInvocationEnableCallbackDiagnostics
_enable_diagnostics.argtypes = [ctypes.c_void_p, ctypes.c_int, _OnDiagnostic, ctypes.c_void_p]
_enable_diagnostics.restype = None
_compile_from = _dylib.ireeCompilerInvocationSetCompileFromPhase
_compile_to = _dylib.ireeCompilerInvocationSetCompileToPhase
for _function in (_compile_from, _compile_to):
    _function.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    _function.restype = None
_enumerate_backends = _dylib.ireeCompilerEnumerateRegisteredHALTargetBackends
_enumerate_backends.argtypes = [_OnName, ctypes.c_void_p]
_enumerate_backends.restype = None


def backends() -> tuple[str, ...]:
    """The code generators of this build of IREE, by its own names ("llvm-cpu")."""
    names = list[str]()
    _enumerate_backends(_OnName(lambda name, _: names.append(name.decode())), None)
    return tuple(names)


@contextlib.contextmanager
def open_session(flags: Sequence[str]) -> Generator[Session]:
    """A session with `COMMON_FLAGS` and `flags`; modules live in its `context`.

    The others wait: IREE reports to all who listen to one context, and on one stderr.
    """
    with _LOCK:
        yield _session(tuple(flags))


# The bindings never free the context of a session (3 MB), so there is one per set of flags.
@functools.cache
def _session(flags: tuple[str, ...]) -> Session:
    session = Session()
    try:
        session.set_flags(*COMMON_FLAGS, *flags)
    except ValueError as error:
        raise CompileError(f"IREE does not take the flags of the target: {error}") from None
    # A session loads dialects when it parses them; operations that passes make need them too.
    session.context.load_all_available_dialects()
    # IREE takes operations it does not know, and then crashes on some.
    session.context.allow_unregistered_dialects = False
    return session


# While the library that they belong to is still there.
atexit.register(_session.cache_clear)


class Lowering:
    """One module on its way from MLIR to bytecode; it is changed in place.

    `what` names it in errors. Raises `CompileError` where IREE fails.
    """

    def __init__(self, session: Session, module: ir.Module, what: str) -> None:
        self.module = module
        self.diagnostics = list[Diagnostic]()
        self.log = ""
        self._what = what
        self._reached: Phase | None = None
        self._invocation = Invocation(session)
        self._callback = _OnDiagnostic(self._record)  # IREE keeps no reference to it
        _enable_diagnostics(self._handle, 0, self._callback, None)
        with module.context:
            module.operation.attributes["stream.resources"] = ir.Attribute.parse(_RESOURCES)
        self._invocation.import_module(module.operation)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._invocation.close()

    def advance(self, phase: Phase) -> None:
        """Compile on, up to and with `phase`."""
        if self._reached is not None:
            _compile_from(self._handle, self._reached.encode())
        _compile_to(self._handle, phase.encode())
        with self._captured_log():
            done = self._invocation.execute()
        if not done or any(d.severity == "error" for d in self.diagnostics):
            raise self._failure()
        self._reached = phase

    def bytecode(self) -> bytes:
        with self._captured_log():
            output = Output.open_membuffer()
            try:
                self._invocation.output_vm_bytecode(output)
                return bytes(output.map_memory())
            except ValueError as error:
                self.diagnostics.append(Diagnostic("error", str(error)))
            finally:
                output.close()
        raise self._failure()

    @property
    def _handle(self) -> ctypes.c_void_p:
        return self._invocation._inv_p  # pyright: ignore[reportPrivateUsage] -- as `_dylib`

    def _record(self, severity: int, text: int, length: int, _: object) -> None:
        message = ctypes.string_at(text, length).decode(errors="replace")
        self.diagnostics.append(parse_diagnostic(_SEVERITIES[severity], message))

    @contextlib.contextmanager
    def _captured_log(self) -> Generator[None]:
        with tempfile.TemporaryFile() as file:
            saved = os.dup(2)
            os.dup2(file.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                os.close(saved)
                file.seek(0)
                self.log += file.read().decode(errors="replace")

    def _failure(self) -> CompileError:
        return compile_error(self._what, self.diagnostics, self.log)


def parse_diagnostic(severity: Severity, text: str) -> Diagnostic:
    """Split IREE's text into place and message, without the dump of the operation it is about."""
    paragraphs = text.split("\n\n")
    kept = [
        p for p in paragraphs if not re.match(r"[^\n]*: (see current operation|called from)", p)
    ]
    message = "\n".join(kept or paragraphs).strip()
    match = _PLACE.match(message)
    if match is None:
        return Diagnostic(severity, message)
    rest = message[match.end() :].strip()
    # "-" is text that was parsed without a file name; <unknown> is what it says.
    known = match["file"] not in ("-", "<unknown>")
    return Diagnostic(severity, rest, f"{match['file']}:{match['line']}" if known else None)


def compile_error(what: str, diagnostics: Sequence[Diagnostic], log: str) -> CompileError:
    errors = [d for d in diagnostics if d.severity == "error"]
    lines = [f"IREE cannot compile {what}."]
    lines += [str(error) for error in errors] or ["It gave no reason."]
    if log.strip():
        lines.append(f"Its tools wrote:\n{_shortened(log)}")
    return CompileError("\n".join(lines), tuple(diagnostics), log)


def _shortened(log: str, lines: int = 20) -> str:
    kept = log.strip().splitlines()
    more = len(kept) - lines
    return "\n".join(kept if more <= 0 else [*kept[:lines], f"... and {more} lines more"])
