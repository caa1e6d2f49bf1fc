"""Layers: functions from nodes to nodes that create their variables in the Context they get.

    hidden = ops.relu(nn.dense(ctx.at("hidden"), x, 64))
    logits = nn.dense(ctx.at("head"), nn.dropout(ctx, hidden, 0.2), 10)

makes `/hidden/w`, `/hidden/b`, `/head/w` and `/head/b`. A layer called again in the same scope uses
the variables that are there, so a scope of its own is what makes a layer separate. Variables have
the dtype of the layer's input; where a layer sums, 16-bit floats are float32 in between.
"""

from stepforge.frontend.nn.attention import multi_head_attention
from stepforge.frontend.nn.batch_norm import batch_norm
from stepforge.frontend.nn.convolution import conv
from stepforge.frontend.nn.dense import dense
from stepforge.frontend.nn.dropout import dropout
from stepforge.frontend.nn.embedding import embedding
from stepforge.frontend.nn.normalization import layer_norm, rms_norm

__all__ = [
    "batch_norm",
    "conv",
    "dense",
    "dropout",
    "embedding",
    "layer_norm",
    "multi_head_attention",
    "rms_norm",
]
