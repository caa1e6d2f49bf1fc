"""The way of a module: our passes, then IREE, with everything it says on the way."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypedDict

from iree.compiler.api import Session

from stepforge.passes import bindings, codegen, spirv_threads, statistics
from stepforge.passes.arenas import Arena, Layout
from stepforge.passes.bindings import ir
from stepforge.passes.errors import CompileError, Diagnostic
from stepforge.passes.pipeline import Update, run_pipeline
from stepforge.passes.plain_build import without_aliases
from stepforge.passes.self_test import SelfTest
from stepforge.passes.session import Lowering, open_session
from stepforge.passes.statistics import Statistics
from stepforge.passes.storage import check_storage
from stepforge.passes.targets import Target, check_dtypes
from stepforge.passes.targets.target import UNIVERSAL

Build = Literal["in_place", "plain"]
_ELEMENTS = ("f16", "bf16", "f32", "f64", "i8", "i16", "i32", "i64")


class TargetInfo(TypedDict):
    """The target row of the manifest. `features` and `requirements` are those of this module."""

    name: str
    backend: str
    device: str
    arch: str
    cpu: str
    cpu_features: tuple[str, ...]
    features: tuple[str, ...]
    self_test: bool
    iree_target: str | None
    subgroup_size: int | None
    requirements: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Compiled:
    """One module, compiled; `warnings` is what IREE remarked."""

    vmfb: bytes
    statistics: Statistics
    info: TargetInfo
    warnings: tuple[Diagnostic, ...] = ()
    arenas: tuple[Arena, ...] = ()


def build_all(
    text: str,
    target: Target,
    builds: Sequence[Build],
    dump_ir: Path | None,
    layout: Layout = "packed",
    update: Update = "in-place",
) -> list[Compiled]:
    """Run the passes once, then compile each of `builds`."""
    with open_session(target.flags) as session:
        module = bindings.parse(text, session.context)
        extra = (SelfTest(),) if target.self_test else ()
        in_place = "in_place" in builds
        arenas = run_pipeline(
            module,
            in_place=in_place,
            backend=target.backend,
            vector_bytes=target.vector_bytes,
            dump_ir=dump_ir,
            layout=layout,
            update=update,
            extra=extra,
        )
        dtypes = used_dtypes(module)
        check_dtypes(target, dtypes)
        # Lowering changes a module, so the copy comes first.
        twin = without_aliases(module) if in_place and "plain" in builds else module
        modules = {"in_place": module, "plain": twin}
        made = [
            _lower(session, modules[build], target, dtypes, dump_ir if build == builds[0] else None)
            for build in builds
        ]
        return [replace(compiled, arenas=arenas) for compiled in made]


def _lower(
    session: Session,
    module: ir.Module,
    target: Target,
    dtypes: Iterable[str],
    dump_ir: Path | None,
) -> Compiled:
    with Lowering(session, module, f"the module for target {target.name}") as lowering:
        lowering.advance("stream")
        if dump_ir is not None:
            (dump_ir / "iree-stream.mlir").write_text(f"{module}\n", encoding="utf-8")
        check_storage(module, target)
        counted = statistics.collect(module)
        check_push_words(counted, target)
        capabilities = _after_codegen(lowering, target)
        lowering.advance("end")
        vmfb = lowering.bytecode()
        remarks = [d for d in lowering.diagnostics if d.severity == "warning"]
        remarks += [Diagnostic("warning", line) for line in lowering.log.splitlines() if line]
    return Compiled(
        vmfb=vmfb,
        statistics=statistics.with_bytecode(counted, vmfb),
        info=_info(target, dtypes, capabilities),
        warnings=tuple(remarks),
    )


def _after_codegen(lowering: Lowering, target: Target) -> tuple[str, ...]:
    """Correct what is generated for the target; returns the capabilities that it needs."""
    if target.backend == "cuda":
        lowering.advance("executable-targets")
        codegen.use_exact_roots(lowering.module)
    if target.backend == "vulkan":
        lowering.advance("executable-configurations")
        spirv_threads.spread_columns(lowering.module)
        lowering.advance("executable-targets")
        spirv_threads.check_divided(lowering.module, f"the module for target {target.name}")
        return codegen.spirv_capabilities(lowering.module)
    return ()


def check_push_words(counted: Statistics, target: Target) -> None:
    for name, function in counted.functions.items():
        if target.push_words is not None and function.push_words > target.push_words:
            raise CompileError(
                f"@{name} gives one dispatch {function.push_words} 32-bit scalars, and target "
                f"{target.name} takes at most {target.push_words}: it would fail when it is "
                "loaded; pass them as one table"
            )


def _info(target: Target, dtypes: Iterable[str], capabilities: Sequence[str]) -> TargetInfo:
    return TargetInfo(
        name=target.name,
        backend=target.backend,
        device=target.device,
        arch=target.arch,
        cpu=target.cpu,
        cpu_features=target.cpu_features,
        features=tuple(sorted(set(dtypes) - set(UNIVERSAL))),
        self_test=target.self_test,
        iree_target=target.iree_target,
        subgroup_size=target.subgroup_size,
        requirements=(*target.requirements, *capabilities),
    )


def used_dtypes(module: ir.Module) -> frozenset[str]:
    """The element types that reach the device, of a module after all passes.

    Those of all tensors, and of the scalars inside their loops; the host's own scalars have any.
    """
    found = set[str]()
    for op in bindings.nested(module.operation):
        inside = op.parent is not None and op.parent.name.startswith("linalg.")
        for value in (*op.results, *op.operands):
            if inside or isinstance(value.type, ir.RankedTensorType):
                found.add(str(bindings.element_type(value)))
    return frozenset(found & set(_ELEMENTS))
