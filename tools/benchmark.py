"""Step times, measured so that contenders see the same moments of a noisy machine."""

from __future__ import annotations

import importlib
import importlib.util
import statistics
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from stepforge.frontend import as_dtype
from stepforge.frontend.entry_names import TRAIN_STEP
from stepforge.runtime.batch_sizes import variant
from stepforge.runtime.container import Artifact
from stepforge.runtime.loading import load
from stepforge.runtime.manifest import Manifest
from stepforge.runtime.step import CompiledStep
from stepforge.tools.verification import random_arguments

# A sample is at least so long that the clock and the loop do not show in it.
SAMPLE_SECONDS = 0.005
TORCH = "torch "


@dataclass(frozen=True, slots=True)
class Contender:
    """`step()` takes one step; gradients are where it reads them. `prepare()` comes before each
    sample, and is not timed."""

    name: str
    step: Callable[[], object]
    prepare: Callable[[], object] = bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds for one step: median, and the fastest and slowest sample.

    `torch_ratio`: the best median of torch in the same rounds over this one; None without torch.
    """

    name: str
    elements: int
    median: float
    fastest: float
    slowest: float
    torch_ratio: float | None = None


def measure(contenders: Sequence[Contender], elements: int, rounds: int) -> tuple[Timing, ...]:
    """Interleaved: each round takes one sample of each contender, in turn."""
    loops = {contender.name: _loops(contender) for contender in contenders}
    samples: dict[str, list[float]] = {contender.name: [] for contender in contenders}
    for _ in range(rounds):
        for contender in contenders:
            count = loops[contender.name]
            contender.prepare()
            samples[contender.name].append(_time(contender, count) / count)
    medians = {name: statistics.median(found) for name, found in samples.items()}
    torch = min((m for name, m in medians.items() if name.startswith(TORCH)), default=None)
    return tuple(
        Timing(
            name=name,
            elements=elements,
            median=medians[name],
            fastest=min(found),
            slowest=max(found),
            torch_ratio=None if torch is None else torch / medians[name],
        )
        for name, found in samples.items()
    )


def _loops(contender: Contender) -> int:
    """How many steps fill a sample; trying warms up too."""
    contender.prepare()
    count = 1
    while (elapsed := _time(contender, count)) < SAMPLE_SECONDS:
        count = max(2 * count, int(count * SAMPLE_SECONDS / max(elapsed, 1e-9)))
    return count


def _time(contender: Contender, count: int) -> float:
    step = contender.step
    start = time.perf_counter()
    for _ in range(count):
        step()
    return time.perf_counter() - start


@contextmanager
def on_devices(
    artifact: Artifact, devices: Sequence[str], manifest: Manifest
) -> Generator[list[Contender]]:
    """One contender for each device, with seeded parameters and gradients in place; of a training
    artifact, one for each device and batch size, with a seeded batch.

    manifest: the artifact's own or, of any length, for the parameters that are stepped.
    """
    with ExitStack() as stack:
        found: list[Contender] = []
        for device in devices:
            optimizer = stack.enter_context(load(artifact, device=device))
            if is_training(artifact.manifest):
                optimizer.initialize(_required(artifact.manifest))
                found.extend(_batches(device, optimizer))
                continue
            optimizer.initialize(random_parameters(manifest))
            for name, values in random_parameters(manifest).items():
                optimizer.gradients[name][...] = values
            found.append(Contender(device, optimizer.step))
        yield found


def random_parameters(manifest: Manifest) -> Mapping[str, Any]:
    generator = np.random.default_rng(0)
    return {
        variable.name: generator.standard_normal(variable.shape, np.float32).astype(
            as_dtype(variable.dtype).numpy
        )
        for variable in manifest.variables
        if variable.role == "parameter"
    }


def is_training(manifest: Manifest) -> bool:
    """Whether it holds a whole training step, and takes batches in place of gradients."""
    return any(function.name == TRAIN_STEP for function in manifest.functions)


def _batches(device: str, optimizer: CompiledStep) -> Iterator[Contender]:
    functions = {function.name: function for function in optimizer.manifest.functions}
    sizes = len(optimizer.batch_sizes)
    for function in functions.values():
        plain, rows = variant(function, functions)
        if plain == TRAIN_STEP:
            name = device if rows is None else f"{device}, batches of {rows}"
            name = f"{device}, largest batches" if rows is None and sizes > 1 else name
            batch = random_arguments(function, optimizer.manifest, 0, 0)
            yield Contender(name, partial(optimizer.train_step, **batch))


def _required(manifest: Manifest) -> Mapping[str, Any]:
    """Values for the parameters that do not say how they begin."""
    given = random_parameters(manifest)
    kinds = {variable.name: variable.initializer.kind for variable in manifest.variables}
    return {name: value for name, value in given.items() if kinds[name] == "required"}


def has_torch() -> bool:
    return importlib.util.find_spec("torch") is not None


def is_adam(manifest: Manifest) -> bool:
    """Whether it is the algorithm that torch's AdamW is, with any decay, and nothing more."""
    return not is_training(manifest) and manifest.formula.startswith(("adam:", "adamw:"))


def torch_adamw(manifest: Manifest) -> tuple[Contender, ...]:
    """torch's fused AdamW over the same parameters on the CPU: with torch's own threads and, where
    those are several, with one, which is faster for small parameters and on busy machines.
    """
    torch: Any = importlib.import_module("torch")
    parameters: list[Any] = []
    for value in random_parameters(manifest).values():
        parameter = torch.nn.Parameter(torch.from_numpy(value.astype(np.float32)))
        parameter.grad = torch.from_numpy(value.astype(np.float32))
        parameters.append(parameter)
    step = torch.optim.AdamW(parameters, fused=True).step
    threads = dict.fromkeys((torch.get_num_threads(), 1))
    return tuple(
        Contender(
            f"{TORCH}{torch.__version__} fused AdamW, {count} thread{'s' if count > 1 else ''}",
            step,
            partial(torch.set_num_threads, count),
        )
        for count in threads
    )
