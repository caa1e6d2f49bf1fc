"""A transformer learns to write like Python's documentation, a character at a time.

    python examples/char_transformer.py --compile cpu transformer.vmfb
    python examples/char_transformer.py transformer.vmfb

The first needs the compiler: it makes one file of the model, its gradients and AdamW. The second
needs NumPy and `stepforge.runtime` alone. The first can be done by the command line too:

    compile-optimizer adamw --model examples/char_transformer.py:loss \\
        --input tokens=16x64xi32 --input targets=16x64xi32 --set learning_rate=0.003 \\
        --set cosine_schedule_cycles=1 --set cosine_schedule_warmup_steps=100 -o transformer.vmfb

The text is that of `pydoc_data.topics`, 0.4 million characters that come with Python.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from pydoc_data import topics
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from stepforge import runtime

if TYPE_CHECKING:  # a machine that only trains has no compiler, and needs no frontend
    from stepforge.frontend import Context, Node, TrainOutputs
    from stepforge.frontend.build import Artifact

LAYERS, HEADS, WIDTH = 2, 4, 64
BATCH, CONTEXT = 16, 64
WARM_UP, RATE = 100, 3e-3
LAST_STEP = "train_last_global_step"

Tokens = NDArray[np.int32]
Batch = dict[str, Tokens]

TEXT = "\n".join(topics.topics.values())
VOCABULARY = "".join(sorted(set(TEXT)))
"""Differs between versions of Python: an artifact is for the version that compiled it."""


# The model and its compilation. The imports are inside, so that training needs no frontend.


def loss(ctx: Context, tokens: Node, targets: Node) -> TrainOutputs:
    """The mean cross-entropy of the next characters, in nats; tokens, targets: [batch, time]."""
    from stepforge.frontend import TrainOutputs, losses, nn, ops  # noqa: PLC0415

    batch, time = tokens.shape
    x = nn.embedding(ctx.at("characters"), tokens, len(VOCABULARY), WIDTH)
    places = ops.iota(tokens.graph, "int32", (time,), 0)
    place = nn.embedding(ctx.at("places"), places, time, WIDTH)
    x = x + ops.broadcast_to(place, x.shape, (1, 2))
    for layer in range(LAYERS):
        here = ctx.at(f"layer_{layer}")
        attended = nn.layer_norm(here.at("norm_1"), x)
        x = x + nn.multi_head_attention(here.at("attention"), attended, HEADS)
        hidden = nn.dense(here.at("wide"), nn.layer_norm(here.at("norm_2"), x), 4 * WIDTH)
        x = x + nn.dense(here.at("narrow"), ops.gelu(hidden, exact=False), WIDTH)
    logits = nn.dense(ctx.at("head"), nn.layer_norm(ctx.at("norm"), x), len(VOCABULARY))
    last = ops.slice(logits, (0, time - 1, 0), (batch, time, len(VOCABULARY)))
    return TrainOutputs(
        loss=losses.categorical_cross_entropy(logits, targets),
        predictions={"logits": ops.reshape(last, (batch, len(VOCABULARY)))},
    )


def compile_for(
    target: str, output: Path | None = None, *, batch: int = BATCH, context: int = CONTEXT
) -> Artifact:
    """The training step with AdamW, whose rate rises for 100 steps and falls to the last one."""
    from stepforge import frontend  # noqa: PLC0415

    return frontend.compile_train_step(
        loss,
        frontend.AdamW(
            learning_rate=frontend.CosineSchedule(
                cycles=1, warm_up_steps=WARM_UP, learning_rate=RATE
            )
        ),
        inputs={name: f"{batch}x{context}xi32" for name in ("tokens", "targets")},
        target=target,
        output=output,
        force=True,
    )


# Training and sampling.


def encode(text: str) -> Tokens:
    return np.array([VOCABULARY.index(character) for character in text], np.int32)


def decode(tokens: Tokens) -> str:
    return "".join(VOCABULARY[token] for token in tokens)


def windows(tokens: Tokens, shape: tuple[int, ...], starts: NDArray[np.int64]) -> Batch:
    """From each start, `shape[1]` characters and those that follow them, one on."""
    places = starts[:, None] + np.arange(shape[1])
    return {"tokens": tokens[places], "targets": tokens[places + 1]}


def batches(tokens: Tokens, shape: tuple[int, ...], count: int, seed: int) -> Iterator[Batch]:
    """Windows at places drawn by the seed."""
    generator = np.random.default_rng(seed)
    for _ in range(count):
        yield windows(tokens, shape, generator.integers(len(tokens) - shape[1], size=shape[0]))


def batch_shape(step: runtime.CompiledStep) -> tuple[int, ...]:
    """(batch, context) that the artifact was compiled for. Exits for another vocabulary."""
    functions = {function.name: function for function in step.manifest.functions}
    (logits,) = (x for x in functions["predict"].results if x.name == "logits")
    if logits.shape[1] != len(VOCABULARY):
        sys.exit(
            f"the text has {len(VOCABULARY)} characters here, the artifact is of "
            f"{logits.shape[1]}: compile it with this version of Python"
        )
    return next(x.shape for x in functions["train_step"].arguments if x.name == "tokens")


def train(
    step: runtime.CompiledStep, steps: int, *, seed: int = 0, progress: bool | None = None
) -> tuple[runtime.History, float]:
    """From the initializers on; the history, and the mean loss of the held-out last twentieth."""
    shape = batch_shape(step)
    tokens = encode(TEXT)
    kept, held_out = np.split(tokens, [len(tokens) * 19 // 20])
    step.initialize()
    if LAST_STEP in step.hyperparameters:  # not without the schedule
        step.hyperparameters[LAST_STEP] = steps
    trainer = runtime.Trainer(step, log_every=10, progress=progress)
    history = trainer.train(lambda epoch: batches(kept, shape, steps, seed), steps=steps)
    judged = [step.evaluate(**batch)["loss"] for batch in batches(held_out, shape, 16, seed)]
    return history, float(np.mean(judged))


def sample(
    step: runtime.CompiledStep, prompts: Tokens, count: int, *, temperature: float, seed: int = 0
) -> Tokens:
    """Goes on from prompts[batch, context]: the next `count` characters of each, [batch, count].

    The window slides: each character is drawn from softmax(logits / temperature), given the
    `context` characters before it.
    """
    generator = np.random.default_rng(seed)
    text = prompts
    for _ in range(count):
        logits = step.predict(tokens=text[:, -prompts.shape[1] :])["logits"].astype(np.float64)
        powers = np.exp((logits - logits.max(axis=1, keepdims=True)) / temperature)
        shares = powers.cumsum(axis=1)
        drawn = generator.random((len(text), 1)) * shares[:, -1:]
        chosen = (shares <= drawn).sum(axis=1, keepdims=True)
        text = np.concatenate([text, chosen.astype(np.int32)], axis=1)
    return text[:, prompts.shape[1] :]


def parse(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Learn to write like Python's documentation.")
    parser.add_argument("artifact", type=Path)
    parser.add_argument("--compile", metavar="TARGET", help="write the artifact, and stop")
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--length", type=int, default=300, help="characters to write")
    parser.add_argument("--temperature", type=float, default=0.7)
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0 when the loss ends below 2 nats, else 1."""
    options = parse(arguments)
    if options.compile is not None:
        made = compile_for(options.compile, options.artifact)
        print(f"{options.artifact}: {len(made.data):,} bytes")
        return 0
    with runtime.load(options.artifact) as step:
        history, held_out = train(step, options.steps)
        last = float(np.mean(history["loss"][-10:]))
        print(
            f"{options.steps} steps: loss {last:.3f} nats a character, of held-out text "
            f"{held_out:.3f}; a guess has ln {len(VOCABULARY)} = {math.log(len(VOCABULARY)):.3f}"
        )
        count, time = batch_shape(step)
        starts = np.linspace(0, len(TEXT) - time - 1, count).astype(np.int64)
        prompts = windows(encode(TEXT), (count, time), starts)["tokens"]
        written = sample(step, prompts, options.length, temperature=options.temperature)
        print(f"\n{decode(prompts[0])}|{decode(written[0])}")
    return 0 if last < 2.0 else 1


if __name__ == "__main__":
    sys.exit(main())
