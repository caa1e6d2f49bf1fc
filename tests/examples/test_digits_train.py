"""The digit MLP and CNN: their batches, their training in small form, and how well they read."""

import ast
import sys
from pathlib import Path

import numpy as np
import pytest

import digits_cnn
import digits_head
import digits_mlp
import digits_train
import personalise
from stepforge import runtime
from stepforge.frontend import AdamW, Context, compile_train_step
from stepforge.frontend.training import LossFunction

FOLDER = Path(digits_train.__file__).parent
SCHEDULED = {"cosine_schedule_cycles": 1}


def compiled(loss: LossFunction, target: str, output: Path) -> Path:
    """As the command lines in the examples compile it."""
    ctx = Context()
    ctx.set_params(SCHEDULED)
    inputs = {"image": "64x8x8x1xf32", "label": "64xi32"}
    made = compile_train_step(
        loss, AdamW(learning_rate=0.003), inputs=inputs, target=target, context=ctx, output=output
    )
    assert made.path is not None
    return made.path


@pytest.fixture(scope="module")
def mlp(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(digits_mlp.loss, "cpu", tmp_path_factory.mktemp("mlp") / "mlp.vmfb")


@pytest.mark.parametrize("name", ["digits_train", "personalise"])
def test_what_trains_imports_the_runtime_alone(name: str) -> None:
    allowed = {*sys.stdlib_module_names, "numpy", "safetensors", "digits_train"}
    for node in ast.walk(ast.parse((FOLDER / f"{name}.py").read_text())):
        if isinstance(node, ast.Import):
            assert {alias.name.split(".")[0] for alias in node.names} <= allowed
        if isinstance(node, ast.ImportFrom) and node.module == "stepforge":
            assert [alias.name for alias in node.names] == ["runtime"]
        elif isinstance(node, ast.ImportFrom):
            assert (node.module or "").split(".")[0] in allowed


def test_batches_are_whole_and_repeat() -> None:
    kept, held_out = digits_train.read_digits()
    assert (len(kept.labels), len(held_out.labels)) == (1_438, 359)
    epoch = digits_train.shuffled(kept, 64, seed=3, shift=1)
    first, again, second = (list(epoch(number)) for number in (1, 1, 2))
    assert len(first) == 1_438 // 64
    assert {batch["image"].shape for batch in first} == {(64, 8, 8, 1)}
    for one, other, later in zip(first, again, second, strict=True):
        assert (one["image"] == other["image"]).all()
        assert (one["image"] != later["image"]).any()


def test_a_shift_moves_a_digit_by_whole_pixels() -> None:
    kept, _ = digits_train.read_digits()
    draw = np.random.default_rng(0)
    assert (digits_train.shifted(kept.images, 0, draw) == kept.images).all()
    padded = np.pad(kept.images[:50], ((0, 0), (1, 1), (1, 1), (0, 0)))
    places = [(row, column) for row in range(3) for column in range(3)]
    found = {
        place
        for image, around in zip(
            digits_train.shifted(kept.images[:50], 1, draw), padded, strict=True
        )
        for place in places
        if (around[place[0] : place[0] + 8, place[1] : place[1] + 8] == image).all()
    }
    assert found == set(places)


@pytest.mark.compiler
def test_the_mlp_learns_and_repeats_bit_for_bit(mlp: Path) -> None:
    weights: list[bytes] = []
    with runtime.load(mlp) as step:
        for _ in range(2):
            run = digits_train.train(step, epochs=4, progress=False)
            _, losses = run.history.series("loss")
            assert step.global_step == len(losses) == 4 * 22
            assert np.mean(losses[-22:]) < 0.5 * np.mean(losses[:22])
            assert run.accuracy > 0.8
            weights.append(step.parameters["head/w"].tobytes())
    assert weights[0] == weights[1]


@pytest.mark.compiler
def test_padding_changes_no_answer(mlp: Path) -> None:
    _, held_out = digits_train.read_digits()
    with runtime.load(mlp) as step:
        digits_train.train(step, epochs=1, progress=False)
        read = digits_train.read_with(step, held_out.images)
        backwards = digits_train.read_with(step, held_out.images[::-1])
        alone = digits_train.read_with(step, held_out.images[-3:])
    assert read.shape == (359,)
    assert (backwards[::-1] == read).all()
    assert (alone == read[-3:]).all()


@pytest.mark.compiler
def test_the_command_line_says_whether_it_was_enough(
    mlp: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    saved, history = tmp_path / "mlp.safetensors", tmp_path / "mlp.csv"
    options = [str(mlp), "--epochs", "1", "--save", str(saved), "--history", str(history)]
    assert digits_train.main([*options, "--accuracy", "1.0"]) == 1
    assert "of held-out digits after 22 steps" in capsys.readouterr().out
    assert len(history.read_text().splitlines()) == 1 + 22
    with runtime.load(mlp) as step:
        step.restore(saved)
        assert step.global_step == 22


@pytest.mark.compiler
def test_the_last_layer_learns_one_hand(tmp_path: Path) -> None:
    cnn = compiled(digits_cnn.loss, "cpu", tmp_path / "cnn.vmfb")
    inputs = {"image": "32x8x8x1xf32", "label": "32xi32"}
    head = tmp_path / "head.vmfb"
    compile_train_step(digits_head.loss, AdamW(learning_rate=0.005), inputs=inputs, output=head)
    assert head.stat().st_size < 0.7 * cnn.stat().st_size
    with runtime.load(cnn) as step:
        digits_train.train(step, epochs=4, shift=1, progress=False)
        step.save(tmp_path / "cnn.safetensors")
    result = personalise.personalise(
        head,
        tmp_path / "cnn.safetensors",
        tmp_path / "mine.safetensors",
        epochs=6,
        progress=False,
    )
    assert result.changed == {"head/w", "head/b"}
    assert result.after > result.before + 0.1


@pytest.mark.slow
@pytest.mark.compiler
@pytest.mark.parametrize(
    ("loss", "target", "shift", "enough"),
    [
        pytest.param(digits_mlp.loss, "cpu", 0, 0.975, id="mlp-cpu"),
        pytest.param(
            digits_mlp.loss, "vulkan", 0, 0.975, id="mlp-vulkan", marks=pytest.mark.vulkan
        ),
        pytest.param(digits_cnn.loss, "cpu", 1, 0.985, id="cnn-cpu"),
    ],
)
def test_the_held_out_fifth_is_read(
    loss: LossFunction, target: str, shift: int, enough: float, tmp_path: Path
) -> None:
    with runtime.load(compiled(loss, target, tmp_path / "model.vmfb")) as step:
        run = digits_train.train(step, epochs=30, shift=shift, progress=False)
    assert run.accuracy >= enough
