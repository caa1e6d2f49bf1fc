"""The digit examples, compiled once for all tests of a run, and their batches."""

import functools
import itertools
from collections.abc import Iterator

import digits_cnn
import digits_mlp
import digits_train
from stepforge.frontend import AdamW, compile_train_step
from stepforge.frontend.build import Artifact

BATCH = 64


@functools.cache
def compiled(model: str, target: str, batch: int = BATCH) -> Artifact:
    return compile_train_step(
        digits_mlp.loss if model == "mlp" else digits_cnn.loss,
        AdamW(learning_rate=0.003),
        inputs={"image": f"{batch}x8x8x1xf32", "label": f"{batch}xi32"},
        target=target,
    )


def batches(count: int, size: int = BATCH) -> Iterator[digits_train.Batch]:
    """The first batches of a training, over as many epochs as it takes."""
    kept, _ = digits_train.read_digits()
    epoch = digits_train.shuffled(kept, size, seed=0)
    endless = itertools.chain.from_iterable(map(epoch, itertools.count(1)))
    return itertools.islice(endless, count)
