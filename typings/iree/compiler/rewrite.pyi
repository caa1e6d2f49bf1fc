# The wheel has no types for its MLIR bindings: everything in this module is Any.
from typing import Any

def __getattr__(name: str) -> Any: ...
