"""The network of `digits_cnn.py`, of which only the last layer learns: its loss, to be compiled.

    compile-optimizer adamw --model examples/digits_head.py:loss \\
        --input image=32x8x8x1xf32 --input label=32xi32 \\
        --set learning_rate=0.005 -o head.vmfb
    python examples/personalise.py head.vmfb cnn.safetensors

Frozen variables have no gradient and no slots, so the artifact is half as large.
"""

from digits_cnn import loss as cnn_loss
from stepforge.frontend import Context, Node, TrainOutputs


def loss(ctx: Context, image: Node, label: Node) -> TrainOutputs:
    """As `digits_cnn.loss`; everything but the scope `head` is frozen."""
    ctx.freeze()
    ctx.at("head").freeze(frozen=False)
    return cnn_loss(ctx, image, label)
