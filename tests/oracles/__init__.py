"""Oracles: what one step of each optimizer of the seed must give, from sources of their own.

Nothing here imports stepforge. `formulas` is the float64 reference, `exact` its 50-digit twin,
`comparator` a float32 program with the artifact's order of operations, `bars` what each backend
may err by, `inputs` where to look, `trajectories` what torch, optax and Keras made of the same
formulas.
"""
