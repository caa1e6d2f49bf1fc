"""A small convolutional network that reads handwritten digits: its loss, to be compiled.

    compile-optimizer adamw --model examples/digits_cnn.py:loss \\
        --input image=64x8x8x1xf32 --input label=64xi32 \\
        --set learning_rate=0.003 --set cosine_schedule_cycles=1 -o cnn.vmfb
    python examples/digits_train.py cnn.vmfb --shift 1 --save cnn.safetensors

`digits_train.py` is what runs the artifact. It needs neither this file nor the compiler.
"""

import math

from stepforge.frontend import Context, Node, TrainOutputs, losses, metrics, nn, ops

CLASSES = 10


def loss(ctx: Context, image: Node, label: Node) -> TrainOutputs:
    """image: float32[batch, 8, 8, 1]; label: int32[batch]."""
    x = ops.relu(nn.conv(ctx.at("conv_1"), image, 16, 3))
    x = ops.relu(nn.conv(ctx.at("conv_2"), x, 32, 3))
    x = ops.max_pool(x, 2)
    x = ops.reshape(x, (x.shape[0], math.prod(x.shape[1:])))
    x = ops.relu(nn.dense(ctx.at("hidden"), x, 64))
    logits = nn.dense(ctx.at("head"), x, CLASSES)
    return TrainOutputs(
        loss=losses.categorical_cross_entropy(logits, label),
        metrics={"accuracy": metrics.accuracy(logits, label)},
        predictions={"logits": logits},
    )
