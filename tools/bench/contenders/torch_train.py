"""The same training steps in torch, eager, with its fused AdamW. Option: `threads`."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any


def make(
    work: dict[str, Any], draw: Callable[..., list[Any]]
) -> tuple[Callable[[], None], dict[str, Any]]:
    torch: Any = importlib.import_module("torch")
    if work["threads"]:
        torch.set_num_threads(work["threads"])
    torch.manual_seed(0)
    batch = [
        torch.from_numpy(draw([i["shape"]], 3)[0])
        if i["classes"] is None
        else (torch.arange(math.prod(i["shape"])) % i["classes"]).reshape(i["shape"])
        for i in work["inputs"].values()
    ]
    model = MODELS[work["settings"]["model"]](torch, work)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        logits = model(batch[0])
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), batch[1].flatten())
        loss.backward()
        optimizer.step()

    return step, {"threads": torch.get_num_threads(), "versions": {"torch": torch.__version__}}


def _mlp(torch: Any, _work: dict[str, Any]) -> Any:
    nn = torch.nn
    return nn.Sequential(
        nn.Linear(784, 512), nn.ReLU(), nn.Linear(512, 512), nn.ReLU(), nn.Linear(512, 10)
    )


def _cnn(torch: Any, _work: dict[str, Any]) -> Any:
    nn = torch.nn
    layers = nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(512, 64),
        nn.ReLU(),
        nn.Linear(64, 10),
    )

    class Model(nn.Module):  # one channel: its place in the shape is all that differs
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.layers = layers

        def forward(self, image: Any) -> Any:
            return self.layers(image.permute(0, 3, 1, 2))

    return Model()


def _transformer(torch: Any, work: dict[str, Any]) -> Any:
    nn, sizes = torch.nn, work["sizes"]
    width, heads, words = sizes["width"], sizes["heads"], sizes["vocabulary"]
    _, time = work["inputs"]["tokens"]["shape"]

    class Block(nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.project, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
            self.wide, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            q, k, v = (
                part.unflatten(-1, (heads, -1)).transpose(1, 2)
                for part in self.project(self.norm_1(x)).chunk(3, -1)
            )
            mixed = nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + self.out(mixed.transpose(1, 2).flatten(2))
            hidden = nn.functional.gelu(self.wide(self.norm_2(x)), approximate="tanh")
            return x + self.narrow(hidden)

    class Model(nn.Module):
        def __init__(self) -> None:
            nn.Module.__init__(self)
            self.characters, self.places = nn.Embedding(words, width), nn.Embedding(time, width)
            self.blocks = nn.Sequential(*(Block() for _ in range(sizes["layers"])))
            self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, words)

        def forward(self, tokens: Any) -> Any:
            return self.head(self.norm(self.blocks(self.characters(tokens) + self.places.weight)))

    return Model()


MODELS = {"mlp": _mlp, "cnn": _cnn, "transformer": _transformer}
