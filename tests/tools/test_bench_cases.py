"""`stepforge bench --case`: the table of cases, the processes and their protocol, refusals."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import get_args

import pytest
from click.testing import Result
from safetensors import safe_open

from stepforge.passes.compile import stream_statistics
from stepforge.tools.bench import run as bench_run
from stepforge.tools.bench import shapes
from stepforge.tools.bench.case import Bar, Case, Contender, Family
from stepforge.tools.bench.cases import CASES, NUMPY, STEPFORGE
from stepforge.tools.bench.contenders.memory_limit import module_text
from stepforge.tools.bench.measure import Settings, measure_case
from stepforge.tools.bench.processes import SCRIPTS, Resident, UnavailableError, Whole, run_once

Cli = Callable[..., Result]

TINY = Case(
    name="tiny",
    title="AdamW over two tensors",
    shapes={"w": (4, 3), "b": (5,)},
    contenders=(
        STEPFORGE,
        NUMPY,
        Contender(name="torch", script="torch_adamw.py", family="torch"),
        Contender(name="memory limit", script="memory_limit.py", each_device=True),
    ),
    bars=(Bar(most=1e9, against="NumPy"), Bar(most=0.0, against="torch")),
    traffic={"reads": ("float32",), "updates": ("float32",) * 3},
    reference="NumPy",
)
QUICK = Settings(
    rounds=2, devices=("local-sync",), pythons={"torch": "/no/python"}, warm=0.0, sample=0.0
)
COUNTING = """
count = 0
def make(work, draw):
    def step():
        global count
        count += 1
        if count > work["most"]:
            raise ValueError("enough")
    print("noise")
    return step, {"drawn": float(draw([[2, 3]], 1)[0].size)}
"""


def silent(_message: str) -> None:
    pass


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], str]:
    """A contender of our own, by its text."""

    def write(text: str) -> str:
        path = tmp_path / "contender.py"
        path.write_text(text)
        return str(path)

    return write


@pytest.fixture
def resident(script: Callable[[str], str]) -> Iterator[Callable[[str, int], Resident]]:
    made: list[Resident] = []

    def start(text: str, most: int = 10**9) -> Resident:
        made.append(Resident(sys.executable, script(text), {"most": most}))
        return made[-1]

    yield start
    for one in made:
        one.close()


def test_a_contender_is_made_ready_warmed_up_and_sampled(resident) -> None:
    one = resident(COUNTING)
    assert one.start() == {"drawn": 6.0}
    one.warm(0.0, 0.0)
    assert one.sample().keys() == {"seconds", "cores"}


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="/proc tells of processes")
def test_it_runs_only_while_it_is_asked(resident) -> None:
    one = resident(COUNTING)
    one.start()
    stat = Path(f"/proc/{one._process.pid}/stat")
    assert stat.read_text().rpartition(")")[2].split()[0] == "T"


def test_what_it_raises_is_told(resident) -> None:
    one = resident(COUNTING, 3)
    one.start()
    one.warm(0.0, 0.0)
    with pytest.raises(UnavailableError, match="ended with code 1: ValueError: enough"):
        one.sample()


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("import a_missing.peer", "a_missing is not installed"),
        ("def make(work, draw): raise NotImplementedError('no such form')", "no such form"),
        ("def make(work, draw): raise SystemExit(3)", "ended with code 3: it said nothing"),
        ("def make(work, draw: oh", "ended with code 1: SyntaxError"),
    ],
)
def test_why_a_contender_is_missing(resident, text: str, why: str) -> None:
    with pytest.raises(UnavailableError, match=why):
        resident(text).start()


def test_an_interpreter_that_is_not_there() -> None:
    with pytest.raises(UnavailableError, match=r"/no/python does not run: No such file"):
        run_once("/no/python", "numpy_adamw.py", {})


def test_a_whole_process_is_a_sample(script: Callable[[str], str]) -> None:
    text = "def run(work, draw): return {'seconds': 7.0, 'said': work['most']}"
    one = Whole(sys.executable, script(text), {"most": 3})
    assert one.start() == {"said": 3}
    found = one.sample()
    assert found["seconds"] == 7.0
    assert found["resident"] > 0


def test_a_whole_process_without_a_time_of_its_own(script: Callable[[str], str]) -> None:
    found = Whole(sys.executable, script("def run(work, draw): return {}"), {}).sample()
    assert 0 < found["seconds"] < 600


@pytest.mark.compiler
def test_a_case_is_measured() -> None:
    found = measure_case(TINY, QUICK, silent)
    rows = {row.name: row for row in found.rows}
    assert list(rows) == [
        "stepforge local-sync",
        "NumPy loop",
        "torch",
        "memory limit local-sync",
    ]
    assert (found.parameters, found.bytes_per_parameter) == (17, 28)
    assert rows["torch"].unavailable == "/no/python does not run: No such file or directory"
    assert rows["torch"].measures == {}
    for name in ("stepforge local-sync", "NumPy loop", "memory limit local-sync"):
        row = rows[name]
        seconds = row.measures["seconds"]
        assert row.unavailable is None
        assert row.facts["threads"] == 1
        assert 0 < seconds.lower <= seconds.median <= seconds.upper
        assert row.ratio is not None
    assert rows["NumPy loop"].facts["versions"].keys() == {"numpy"}
    assert rows["stepforge local-sync"].facts["state_bytes_per_parameter"] == 8.0
    near, far = found.verdicts
    assert near.met is True
    assert (far.value, far.met) == (None, None)


@pytest.mark.compiler
def test_settings_that_this_version_lacks() -> None:
    case = Case(
        name="later",
        title="",
        shapes={"w": (4,)},
        settings={"adam_magic": 1},
        contenders=(STEPFORGE, NUMPY),
        bars=(),
    )
    ours, numpy = measure_case(case, QUICK, silent).rows
    assert ours.unavailable is not None
    assert "adam_magic" in ours.unavailable
    assert numpy.unavailable is None


def test_the_table() -> None:
    assert all(name == case.name for name, case in CASES.items())
    for case in CASES.values():
        scripts = [contender.script for contender in case.contenders]
        prepare = [] if case.prepare is None else [case.prepare]
        assert [s for s in (*scripts, *prepare) if not (SCRIPTS / s).is_file()] == []
        names = [contender.name for contender in case.contenders]
        assert len(set(names)) == len(names)
        assert {contender.family for contender in case.contenders} <= set(get_args(Family))
        prefixes = [case.reference, *(bar.against for bar in case.bars if bar.against is not None)]
        for prefix in prefixes:
            known = any(name.startswith(prefix) for name in names)
            assert known or case.name == "compile-1000"


def test_the_shapes_are_those_that_the_bars_speak_of() -> None:
    sizes = {name: (len(case.shapes), case.parameters) for name, case in CASES.items()}
    assert sizes["adamw-16m"] == (1, 2**24)
    assert sizes["adamw-64m"] == (1, 2**26)
    assert sizes["adamw-150-tensors"] == (150, 3_297_682)
    assert sizes["adamw-minilm"] == (103, 22_713_216)
    assert sizes["compile-1000"][0] == 1000
    assert sizes["cold-start"] == (10, 100_000)


@pytest.mark.minilm
def test_minilm_has_the_shapes_of_its_file(minilm_parameters: Path) -> None:
    with safe_open(minilm_parameters, "numpy") as file:
        stored = {name: file.get_slice(name) for name in file.keys()}
        found = {n: tuple(s.get_shape()) for n, s in stored.items() if s.get_dtype() == "F32"}
    assert found == shapes.minilm()


@pytest.mark.compiler
@pytest.mark.parametrize(
    "traffic", {str(c.traffic): c.traffic for c in CASES.values() if c.traffic}.values()
)
def test_the_memory_limit_reads_and_writes_once(traffic: dict[str, tuple[str, ...]]) -> None:
    text = module_text(4096, traffic["reads"], traffic["updates"])
    step = stream_statistics(text, "cpu")["step"]
    assert (step.dispatches, step.copies, step.allocates) == (1, 0, False)
    assert step.buffers == len(traffic["reads"]) + len(traffic["updates"])


def test_the_list(cli: Cli) -> None:
    lines = cli("bench", "--list").stdout.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(CASES)


@pytest.mark.compiler
def test_a_case_on_the_command_line(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bench_run, "CASES", {"tiny": TINY})
    page, output, picture = (tmp_path / name for name in ("p.md", "r.json", "p.svg"))
    page.write_text("a\n<!-- stepforge bench: begin -->\nold\n<!-- stepforge bench: end -->\nb\n")
    options = ["--case", "all", "--rounds", 1, "--device", "local-sync"]
    options += ["--python", "torch=/no/python", "--markdown", page, "--plot", picture]
    text = cli("bench", *options, "--output", output).stdout
    assert "torch: /no/python does not run" in text
    assert "met: time at most 1000000000.00 x NumPy" in text
    assert page.read_text().startswith("a\n<!-- stepforge bench: begin -->\n\nMeasured on ")
    assert picture.read_text().startswith("<?xml")
    again = json.loads(cli("bench", "--from", output, "--json").stdout)
    assert again == json.loads(output.read_text())
    assert cli("bench", "--from", output).stdout.strip() == text.strip()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--case", "adamw-16"), "none of the built-in cases"),
        (("--case", "adamw-64", "--size", 8), "--size: a built-in case says what to measure"),
        (("--case", "adamw-64", "some.vmfb"), "FILE: a built-in case says what to measure"),
        (("--output", "a.json"), "--output: only the built-in cases of --case have it"),
        (("--case", "adamw-64", "--python", "tensor=x"), "--python takes FAMILY=PATH"),
        (("--case", "adamw-64", "--plot", "a.pdf"), "ends in .png or .svg, got a.pdf"),
        (("--case", "adamw-64", "--markdown", "README.md"), "README.md lacks"),
    ],
)
def test_refusals_come_before_the_measuring(
    cli: Cli, options: tuple[object, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(Path(__file__).resolve().parents[2])
    result = cli("bench", *options, code=2)
    assert said in result.stderr
    assert result.stdout == ""
