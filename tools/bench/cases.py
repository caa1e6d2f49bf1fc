"""The built-in cases: one row for each line of the acceptance table."""

from __future__ import annotations

from stepforge.tools.bench import shapes
from stepforge.tools.bench.case import Bar, Case, Contender

M16, M64 = 2**24, 2**26

STEPFORGE = Contender(name="stepforge", script="stepforge_step.py", each_device=True)
LIMIT = Contender(name="memory limit", script="memory_limit.py", each_device=True)
FUSED = Contender(
    name="torch fused",
    script="torch_adamw.py",
    family="torch",
    options={"form": "fused", "threads": None},
)
FUSED_ALONE = Contender(
    name="torch fused, 1 thread",
    script="torch_adamw.py",
    family="torch",
    options={"form": "fused", "threads": 1},
)
FOREACH = Contender(
    name="torch foreach",
    script="torch_adamw.py",
    family="torch",
    options={"form": "foreach", "threads": None},
)
OPTAX = Contender(name="optax, jit", script="optax_adamw.py", family="jax")
NUMPY = Contender(name="NumPy loop", script="numpy_adamw.py", family="numpy")
PEERS = (FUSED, FUSED_ALONE, FOREACH, OPTAX, NUMPY)
ALL = (STEPFORGE, *PEERS, LIMIT)

ADAMW = {"reads": ("float32",), "updates": ("float32",) * 3}
# At least 0.90 of the memory limit's speed.
NEAR_LIMIT = Bar(most=1 / 0.9, against="memory limit")
NOTHING_ALLOCATED = Bar(most=0.0, measure="transient_bytes_per_parameter")
ONE_DISPATCH = Bar(most=1, measure="dispatches")
# A packed gradient is a float32.
PACKED_ALONE = Bar(most=4.0, measure="transient_bytes_per_parameter")


def _training(name: str, title: str, jobs: str) -> Case:
    """A whole training step; `jobs` is the model's name in the scripts."""
    return Case(
        name=name,
        title=title,
        shapes={},
        settings={"model": jobs},
        contenders=(
            Contender(name="stepforge", script="stepforge_train.py", each_device=True),
            Contender(name="JAX, jit", script="jax_train.py", family="jax"),
            Contender(
                name="torch eager",
                script="torch_train.py",
                family="torch",
                options={"threads": None},
            ),
            Contender(
                name="torch eager, 1 thread",
                script="torch_train.py",
                family="torch",
                options={"threads": 1},
            ),
        ),
        bars=(Bar(most=1.2, against="JAX", aim=1.0),),
        reference="JAX",
        prepare="prepare_training.py",
    )


ROWS = (
    Case(
        name="adamw-16m",
        title="AdamW, one tensor of 16 M",
        shapes=shapes.one(M16),
        contenders=ALL,
        bars=(Bar(most=1.0, against="torch fused"), NEAR_LIMIT, NOTHING_ALLOCATED),
        traffic=ADAMW,
    ),
    Case(
        name="adamw-64m",
        title="AdamW, one tensor of 64 M",
        shapes=shapes.one(M64),
        contenders=(STEPFORGE, FUSED, OPTAX, LIMIT),
        bars=(Bar(most=1.0, against="torch fused"), NEAR_LIMIT, NOTHING_ALLOCATED),
        traffic=ADAMW,
        samples=10,
    ),
    Case(
        name="adamw-150-tensors",
        title="AdamW, 150 tensors, 3.3 M parameters",
        shapes=shapes.transformer(),
        contenders=ALL,
        bars=(Bar(most=0.65, against="torch fused"), ONE_DISPATCH, PACKED_ALONE),
        traffic=ADAMW,
    ),
    Case(
        name="adamw-minilm",
        title="AdamW over MiniLM's 103 tensors, 22.7 M parameters",
        shapes=shapes.minilm(),
        contenders=ALL,
        bars=(Bar(most=0.95, against="torch fused"), ONE_DISPATCH, PACKED_ALONE),
        traffic=ADAMW,
    ),
    Case(
        name="adamw-64",
        title="AdamW, 64 elements",
        shapes=shapes.one(64),
        contenders=ALL,
        bars=(Bar(most=0.35, against="torch fused"), NOTHING_ALLOCATED),
        traffic=ADAMW,
    ),
    Case(
        name="clip-skip-ema-16m",
        title="Clip by global norm, AdamW, skip-nonfinite and EMA, 16 M",
        shapes=shapes.one(M16),
        settings={"clip_global_norm": 1.0, "skip_nonfinite": True, "ema_decay": 0.999},
        contenders=(
            STEPFORGE,
            Contender(
                name="torch composition, scaled",
                script="torch_controls.py",
                family="torch",
                options={"form": "scaled"},
            ),
            Contender(
                name="torch composition, plain",
                script="torch_controls.py",
                family="torch",
                options={"form": "plain"},
            ),
            LIMIT,
        ),
        bars=(Bar(most=0.6, against="torch composition"),),
        # The gradient is read for the norm, and again for the update.
        traffic={"reads": ("float32",) * 2, "updates": ("float32",) * 4},
        reference="torch composition",
    ),
    Case(
        name="adamw-bf16-16m",
        title="AdamW with bf16 moments, 16 M",
        shapes=shapes.one(M16),
        settings={"slot_dtype": "bfloat16"},
        contenders=(STEPFORGE, FUSED, FUSED_ALONE, LIMIT),
        bars=(Bar(most=0.7, against="torch fused"),),
        traffic={"reads": ("float32",), "updates": ("float32", "bfloat16", "bfloat16")},
    ),
    Case(
        name="adamw-8bit-16m",
        title="AdamW with 8-bit moments, 16 M",
        shapes=shapes.one(M16),
        settings={"slot_dtype": "int8"},
        contenders=(STEPFORGE, FUSED, FUSED_ALONE, LIMIT),
        bars=(
            Bar(most=1.0, against="torch fused", aim=0.65),
            Bar(most=2.1, measure="state_bytes_per_parameter"),
            Bar(most=0.1, measure="transient_bytes_per_parameter"),
        ),
        traffic={"reads": ("float32",), "updates": ("float32", "int8", "int8")},
    ),
    Case(
        name="compile-1000",
        title="Compile AdamW over 1,000 tensors",
        shapes=shapes.thousand(),
        contenders=tuple(
            Contender(
                name=f"stepforge for {target}",
                script="stepforge_compile.py",
                options={"target": target},
                whole=True,
            )
            for target in ("cpu", "vulkan", "cuda", "vmvx")
        ),
        bars=(
            Bar(most=2.0, every=True),
            Bar(most=32 * 1024, measure="artifact_bytes", every=True),
        ),
        prepare=None,
        samples=3,
    ),
    Case(
        name="cold-start",
        title="Import, load and first step of 100 k parameters, a whole process",
        shapes={f"w{i}": (10_000,) for i in range(10)},
        contenders=(
            Contender(name="stepforge", script="stepforge_cold.py", whole=True),
            Contender(name="torch", script="torch_cold.py", family="torch", whole=True),
        ),
        bars=(
            Bar(most=0.08, against="torch"),
            Bar(most=0.2, against="torch", measure="resident"),
        ),
        reference="torch",
        samples=10,
    ),
    _training("train-mlp", "Training step, MLP 784-512-512-10, batch 128", "mlp"),
    _training("train-cnn", "Training step, the digits CNN of the examples, batch 64", "cnn"),
    _training("train-transformer", "Training step, the character transformer", "transformer"),
)

CASES = {case.name: case for case in ROWS}
