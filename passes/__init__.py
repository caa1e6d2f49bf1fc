"""From logical MLIR to compiled modules: passes of our own, then IREE."""
