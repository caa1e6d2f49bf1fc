"""One script per contender of `stepforge bench`; `worker.py` runs them, each in its own process.

A peer's script imports nothing of stepforge, and imports its framework when it is made, so that
any interpreter runs it: `make(work, draw)` gives the step and facts about it, and `run(work, draw)`
is a whole process by itself. `work` is the case, as JSON; `draw` makes its random arrays.
"""
