"""What can be compiled for, and what each can be trusted with."""

from __future__ import annotations

from stepforge.passes.targets.dtypes import check_dtypes
from stepforge.passes.targets.listing import TargetRow, parse_target, target_names, targets
from stepforge.passes.targets.target import Target

__all__ = [
    "Target",
    "TargetRow",
    "check_dtypes",
    "parse_target",
    "target_names",
    "targets",
]
