"""float32 functions spelled by arithmetic that is exact enough on every target.

One function per `math` operation, from a number to a number (`elements.py`), used by the pass
`expand-math`. What they have in common:

- No fused multiply-add is needed, and one does no harm: products that must be exact are exact.
- No sum is taken back: where `a + b` is rounded on purpose, what comes next reads its bits. Drivers
  may simplify `(a + b) - b`, and Mesa's do.
- Numbers below 2^-126 may be flushed to zero, on the way in and on the way out.
- Division may be off by 2.5 units in the last place, as Vulkan allows.

Polynomials are minimax fits (weighted by the relative error of the function, coefficients rounded
to float32 one after another); their errors stand beside them.
"""
