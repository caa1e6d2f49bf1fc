"""A recipe in TOML, up to the settings and the parameters that it names."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path

from stepforge.frontend.build.parameters import parameter_specs
from stepforge.frontend.errors import FrontendError
from stepforge.tools.errors import ToolError
from stepforge.tools.parameters import choose, specs_of
from stepforge.tools.recipe import Recipe, combine, read_recipe
from support import fuzzing

_PATH = Path(tempfile.mkdtemp(prefix="stepforge-fuzz-")) / "recipe.toml"


def one(data: bytes) -> None:
    _PATH.write_bytes(data)
    try:
        recipe = combine(read_recipe(_PATH), Recipe())
        if isinstance(recipe.params, Mapping):
            found = specs_of("recipe", recipe.params)
            chosen = choose(found, "recipe", recipe.include, recipe.exclude)
            parameter_specs(chosen.specs)
    except (ToolError, FrontendError):
        return


if __name__ == "__main__":
    fuzzing.run(one, "stepforge.tools", "stepforge.frontend", "tomllib")
