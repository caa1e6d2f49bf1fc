"""The parity table: every optimizer in every setting, on every backend, against the oracles."""
