# pyright: reportMissingImports=false, reportMissingModuleSource=false
"""Make `models.npz`: three models trained by torch in float64, with its own layers and gradients.

Run by hand, in an environment that has torch (no test needs it):

    pip install torch
    PYTHONPATH=tests python -m oracles.generate_models
"""

from typing import Any

import numpy as np
import torch
from torch.nn import functional as F

from .model_cases import FILE, HEADS, LAYERS, MODELS, STEPS, WIDTH, Model, summary

Parameters = dict[str, torch.Tensor]


def dense(p: Parameters, scope: str, x: torch.Tensor) -> torch.Tensor:
    return F.linear(x, p[f"{scope}/w"].T, p[f"{scope}/b"])


def conv(p: Parameters, scope: str, x: torch.Tensor) -> torch.Tensor:
    """torch's layout: x[batch, channels, rows, columns]."""
    kernel = p[f"{scope}/w"].permute(3, 2, 0, 1)
    return F.conv2d(x, kernel, p[f"{scope}/b"], padding="same")


def norm(p: Parameters, scope: str, x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-1:], p[f"{scope}/scale"], p[f"{scope}/offset"], 1e-5)


def mlp(p: Parameters, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    x = image.flatten(1)
    for scope in ("/hidden_1", "/hidden_2"):
        x = F.relu(dense(p, scope, x))
    return F.cross_entropy(dense(p, "/head", x), label)


def cnn(p: Parameters, image: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
    x = image.permute(0, 3, 1, 2)
    for scope in ("/conv_1", "/conv_2"):
        x = F.relu(conv(p, scope, x))
    x = F.max_pool2d(x, 2).permute(0, 2, 3, 1).flatten(1)  # channels last, as the weights are
    return F.cross_entropy(dense(p, "/head", F.relu(dense(p, "/hidden", x))), label)


def transformer(p: Parameters, tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    batch, time = tokens.shape
    x = F.embedding(tokens, p["/characters/w"]) + p["/places/w"]

    def heads(scope: str, x: torch.Tensor) -> torch.Tensor:
        return dense(p, scope, x).view(batch, time, HEADS, WIDTH // HEADS).transpose(1, 2)

    for layer in range(LAYERS):
        here = f"/layer_{layer}"
        y = norm(p, f"{here}/norm_1", x)
        q, k, v = (heads(f"{here}/attention/{part}", y) for part in ("query", "key", "value"))
        mixed = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + dense(p, f"{here}/attention/out", mixed.transpose(1, 2).reshape(x.shape))
        y = F.gelu(dense(p, f"{here}/wide", norm(p, f"{here}/norm_2", x)), approximate="tanh")
        x = x + dense(p, f"{here}/narrow", y)
    logits = dense(p, "/head", norm(p, "/norm", x))
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


LOSSES = {"mlp": mlp, "cnn": cnn, "transformer": transformer}


def tensor(values: Any) -> torch.Tensor:
    floats = values.dtype.kind == "f"
    return torch.tensor(values, dtype=torch.float64 if floats else torch.int64)


def train(model: Model) -> dict[str, np.ndarray]:
    p = {path: tensor(x).requires_grad_() for path, x in model.initial().items()}
    optimizer = torch.optim.SGD(p.values(), lr=model.rate)
    losses: list[float] = []
    gradients: list[dict[str, np.ndarray]] = []
    for batch in model.batches():
        optimizer.zero_grad()
        loss = LOSSES[model.name](p, **{name: tensor(x) for name, x in batch.items()})
        loss.backward()
        losses.append(loss.item())
        gradients.append(summary({path: x.grad.numpy() for path, x in p.items()}))
        optimizer.step()
    final = summary({path: x.detach().numpy() for path, x in p.items()})
    found = {f"gradients/{key}": np.stack([g[key] for g in gradients]) for key in final}
    # Samples of the first and the last gradient are enough; norms and projections are of all.
    found["gradients/samples"] = found["gradients/samples"][[0, STEPS - 1]]
    final = {f"final/{key}": values for key, values in final.items()}
    return {"losses": np.array(losses), **found, **final}


def main() -> None:
    found: dict[str, Any] = {f"{m.name}/{key}": x for m in MODELS for key, x in train(m).items()}
    np.savez_compressed(FILE, versions=f"torch {torch.__version__}", **found)
    for model in MODELS:
        print(model.name, found[f"{model.name}/losses"])


if __name__ == "__main__":
    main()
