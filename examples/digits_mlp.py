"""A small multilayer perceptron that reads handwritten digits: its loss, to be compiled.

    compile-optimizer adamw --model examples/digits_mlp.py:loss \\
        --input image=64x8x8x1xf32 --input label=64xi32 \\
        --set learning_rate=0.003 --set cosine_schedule_cycles=1 -o mlp.vmfb
    python examples/digits_train.py mlp.vmfb

`digits_train.py` is what runs the artifact. It needs neither this file nor the compiler.
"""

import math

from stepforge.frontend import Context, Node, TrainOutputs, losses, metrics, nn, ops

CLASSES = 10


def loss(ctx: Context, image: Node, label: Node) -> TrainOutputs:
    """image: float32[batch, 8, 8, 1]; label: int32[batch]."""
    x = ops.reshape(image, (image.shape[0], math.prod(image.shape[1:])))
    x = ops.relu(nn.dense(ctx.at("hidden_1"), x, 64))
    x = ops.relu(nn.dense(ctx.at("hidden_2"), x, 64))
    logits = nn.dense(ctx.at("head"), x, CLASSES)
    return TrainOutputs(
        loss=losses.categorical_cross_entropy(logits, label),
        metrics={"accuracy": metrics.accuracy(logits, label)},
        predictions={"logits": logits},
    )
