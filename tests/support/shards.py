"""Where a tensor is cut for several that each keep a part."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np


def ranges(length: int, count: int) -> Iterator[slice]:
    """Contiguous ranges of nearly equal length that begin anywhere; fewer where there is less."""
    edges = np.linspace(0, length, min(count, length) + 1).astype(int)
    return (slice(a, b) for a, b in pairwise(edges))
