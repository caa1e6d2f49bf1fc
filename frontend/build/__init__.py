"""From an optimizer to an artifact: the one place that joins frontend, passes and runtime."""

from stepforge.frontend.build.artifact import Artifact
from stepforge.frontend.build.compile import compile_optimizer, compile_program
from stepforge.frontend.build.train import compile_train_step

__all__ = ["Artifact", "compile_optimizer", "compile_program", "compile_train_step"]
