"""Whether a checkpoint fits a step: the same formula, names, shapes and dtypes.

What differs is named with both values. Other hyperparameters are no error, because a run may well
go on with another weight decay; they are a warning where they were compiled in, so that it does not
happen by accident, and an error where the caller asks for that.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Mapping
from typing import Any, cast

from stepforge.runtime.arrays import Array, numpy_dtype
from stepforge.runtime.bounds import bounds_of, check_bounds
from stepforge.runtime.errors import CheckpointError, CheckpointWarning
from stepforge.runtime.manifest import Group, Manifest, Variable
from stepforge.runtime.names import listed
from stepforge.runtime.safetensors_file import Tensors
from stepforge.runtime.state import host_dtype

FORMAT = "1"
MAX_DIFFERENCES = 8
"""How many are listed in a message."""

_FOLDERS = {"parameter": "params", "slot": "slots"}


def entry_name(variable: Variable) -> str:
    """The tensor's name in the file."""
    return f"{_FOLDERS.get(variable.role, 'state')}{variable.name}"


def compiled_values(groups: Iterable[Group], *, settable: bool) -> dict[str, Any]:
    """The hyperparameters of an artifact by name; those of which groups differ are lists.

    settable: with those that can be set too, whose values here are the first ones.
    """
    found: dict[str, list[Any]] = {}
    for group in groups:
        for item in group.hyperparameters:
            values = found.setdefault(item.name, [])
            if item.value not in values:
                values.append(item.value)
    variable = {h.name for g in groups for h in g.hyperparameters if h.variable is not None}
    return {
        name: values[0] if len(values) == 1 else values
        for name, values in found.items()
        if settable or name not in variable
    }


def match(tensors: Tensors, manifest: Manifest, where: str, *, strict: bool) -> dict[str, Array]:
    """The values by variable path. Raises CheckpointError for a checkpoint of something else."""
    _match_formula(tensors.metadata, manifest, where)
    variables = {v.name: v for v in manifest.variables}
    wanted = {entry_name(v): v for v in variables.values()}
    missing = sorted(set(wanted) - set(tensors.arrays))
    extra = sorted(set(tensors.arrays) - set(wanted))
    if missing or extra:
        raise CheckpointError(
            f"{where} belongs to another model or optimizer: missing {listed(missing) or 'none'}; "
            f"not expected {listed(extra) or 'none'}"
        )
    _match_tensors(tensors.arrays, wanted, where)
    for path, settings in bounds_of(manifest.groups).items():
        name = entry_name(variables[path])
        for setting in settings:
            inside = f"{where}: {name} (hyperparameter {setting.name!r})"
            check_bounds(inside, tensors.arrays[name].item(), setting, CheckpointError)
    _compare_hyperparameters(tensors.metadata, manifest, where, strict)
    return {variable.name: tensors.arrays[name] for name, variable in wanted.items()}


def _match_formula(metadata: Mapping[str, str], manifest: Manifest, where: str) -> None:
    found = metadata.get("stepforge.format")
    if found != FORMAT:
        raise CheckpointError(f"{where}: expected checkpoint format {FORMAT!r}, got {found!r}")
    formula = metadata.get("stepforge.formula")
    if formula != manifest.formula:
        raise CheckpointError(
            f"{where} was written by the optimizer {formula!r}; this artifact is "
            f"{manifest.formula!r}, whose slots mean something else"
        )


def _match_tensors(arrays: Mapping[str, Array], wanted: Mapping[str, Variable], where: str) -> None:
    found: list[str] = []
    for name, variable in wanted.items():
        array = arrays[name]
        on_host = variable.storage == "host"
        dtype = host_dtype(variable) if on_host else numpy_dtype(variable.dtype)
        if array.shape != variable.shape:
            found.append(f"{name}: expected shape {variable.shape}, got {array.shape}")
        if array.dtype != dtype:
            found.append(f"{name}: expected dtype {dtype.name}, got {array.dtype.name}")
    if found:
        more = len(found) - MAX_DIFFERENCES
        tail = f"; and {more} more" if more > 0 else ""
        raise CheckpointError(f"{where}: {'; '.join(found[:MAX_DIFFERENCES])}{tail}")


def _compare_hyperparameters(
    metadata: Mapping[str, str], manifest: Manifest, where: str, strict: bool
) -> None:
    try:
        read: Any = json.loads(metadata.get("stepforge.hyperparameters", "{}"))
    except (ValueError, RecursionError):
        return  # said for people; nothing depends on it
    if not isinstance(read, dict):
        return
    saved = cast("dict[str, Any]", read)
    here = compiled_values(manifest.groups, settable=False)
    differ = [
        f"{name} {saved[name]!r}, here {value!r}"
        for name, value in here.items()
        # As text, in which NaN is equal to itself.
        if name in saved and json.dumps(saved[name]) != json.dumps(value)
    ]
    if not differ:
        return
    told = (
        f"{where} was written with other hyperparameters than this artifact was compiled with: "
        f"{'; '.join(differ)[:1000]}"
    )
    if strict:
        raise CheckpointError(told)
    warnings.warn(
        f"{told}; the state is taken as it is, and the run goes on with those of the artifact",
        CheckpointWarning,
        stacklevel=5,
    )
