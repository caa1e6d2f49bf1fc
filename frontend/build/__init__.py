"""From an optimizer to an artifact: the one place that joins frontend, passes and runtime."""

from stepforge.frontend.build.artifact import Artifact
from stepforge.frontend.build.compile import compile_optimizer, compile_program

__all__ = ["Artifact", "compile_optimizer", "compile_program"]
