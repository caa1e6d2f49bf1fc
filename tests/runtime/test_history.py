"""The numbers of a run: rows, series, tables and pictures."""

from __future__ import annotations

import csv
import json
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stepforge import runtime
from stepforge.runtime import History, Row

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def history() -> History:
    made = History()
    made.add(1, 1, {"loss": 0.1 + 0.2, "learning_rate": 1e-3})
    made.add(2, 1, {"loss": math.nan, "learning_rate": 1e-3})
    made.add(2, 1, {"validation/loss": math.inf})
    made.add(3, 2, {"loss": -math.inf})
    return made


def test_rows(history: History) -> None:
    assert len(history) == 3
    assert list(history) == list(history.rows)
    assert history.rows[0] == Row(1, 1, {"loss": 0.1 + 0.2, "learning_rate": 1e-3})
    assert list(history.rows[1].values) == ["loss", "learning_rate", "validation/loss"]
    assert history.names == ("loss", "learning_rate", "validation/loss")
    assert repr(history) == "History(3 rows of loss, learning_rate, validation/loss)"
    assert repr(History()) == "History(0 rows of nothing)"


def test_series(history: History) -> None:
    assert history.series("learning_rate") == ([1, 2], [1e-3, 1e-3])
    assert history["validation/loss"] == [math.inf]
    with pytest.raises(runtime.UnknownNameError, match=r"no 'los'; did you mean 'loss'"):
        history["los"]
    with pytest.raises(runtime.UnknownNameError, match=r"no 'loss'; it is empty"):
        History().series("loss")


def test_the_epoch_may_change_at_a_step(history: History) -> None:
    history.add(3, 3, {"loss": 1.0})
    assert [(row.step, row.epoch) for row in history] == [(1, 1), (2, 1), (3, 2), (3, 3)]


def test_numbers_are_pythons() -> None:
    made = History()
    given: Any = {"a": np.float32(0.1), "b": 3, "c": True}
    made.add(1, 1, given)
    assert [type(v) for v in made.rows[0].values.values()] == [float] * 3
    assert made["a"] == [0.10000000149011612]


@pytest.mark.parametrize("value", [None, "x", [1.0, 2.0], object()])
def test_no_number(value: Any) -> None:
    made = History()
    with pytest.raises(runtime.InputError, match=r"'a': expected a number, got"):
        made.add(1, 1, {"a": value})
    assert len(made) == 0


def test_steps_go_up(history: History) -> None:
    with pytest.raises(runtime.InputError, match=r"expected one from 3 on, got 2"):
        history.add(2, 2, {"loss": 0.0})


def test_csv(history: History, tmp_path: Path) -> None:
    path = tmp_path / "run.csv"
    path.write_text("old")
    history.to_csv(path)
    assert path.read_text() == (
        "step,epoch,loss,learning_rate,validation/loss\n"
        "1,1,0.30000000000000004,0.001,\n"
        "2,1,nan,0.001,inf\n"
        "3,2,-inf,,\n"
    )
    assert list(tmp_path.iterdir()) == [path]


def test_csv_of_names_that_need_quotes(tmp_path: Path) -> None:
    made = History()
    made.add(1, 1, {'a,"b"\n': 2.0})
    made.to_csv(tmp_path / "x.csv")
    with (tmp_path / "x.csv").open(newline="") as stream:
        assert list(csv.reader(stream)) == [["step", "epoch", 'a,"b"\n'], ["1", "1", "2.0"]]


def test_json(history: History, tmp_path: Path) -> None:
    def refuse(name: str) -> None:
        raise AssertionError(f"{name} is not JSON")

    history.to_json(tmp_path / "run.json")
    read = json.loads((tmp_path / "run.json").read_bytes(), parse_constant=refuse)
    assert read["rows"][0]["values"]["loss"] == 0.1 + 0.2
    assert read["rows"][1] == {
        "step": 2,
        "epoch": 1,
        "values": {"loss": "NaN", "learning_rate": 0.001, "validation/loss": "Infinity"},
    }
    assert float(read["rows"][2]["values"]["loss"]) == -math.inf


def test_empty(tmp_path: Path) -> None:
    History().to_csv(tmp_path / "x.csv")
    History().to_json(tmp_path / "x.json")
    assert (tmp_path / "x.csv").read_text() == "step,epoch\n"
    assert json.loads((tmp_path / "x.json").read_text()) == {"rows": []}
    with pytest.raises(runtime.InputError, match=r"the history is empty"):
        History().plot(tmp_path / "x.png")


@pytest.mark.parametrize("write", ["to_csv", "to_json"])
def test_cannot_be_written(history: History, tmp_path: Path, write: str) -> None:
    with pytest.raises(
        runtime.HistoryWriteError, match=r"cannot write the history to .*missing/x.*untouched"
    ):
        getattr(history, write)(tmp_path / "missing" / "x")


# Pictures.


def test_pictures(history: History, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    history.plot(tmp_path / "run.png")
    history.plot(str(tmp_path / "run.svg"))
    assert (tmp_path / "run.png").read_bytes().startswith(PNG)
    text = (tmp_path / "run.svg").read_text()
    assert text.count('<g id="axes_') == 2, "loss and validation/loss share a panel"
    for name in ("loss", "validation/loss", "learning_rate", "step"):
        assert f"<!-- {name} -->" in text
    history.plot(tmp_path / "again.svg")
    assert (tmp_path / "again.svg").read_text() == text
    assert "matplotlib.pyplot" not in sys.modules


@pytest.mark.parametrize("name", ["run.pdf", "run", "png"])
def test_other_kinds_of_picture(history: History, tmp_path: Path, name: str) -> None:
    with pytest.raises(runtime.InputError, match=r"expected a path that ends in .png or .svg"):
        history.plot(tmp_path / name)


def test_without_matplotlib(
    history: History, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [n for n in sys.modules if n.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(runtime.MissingExtraError, match=r"pip install 'stepforge\[plot\]'"):
        history.plot(tmp_path / "run.png")
    assert list(tmp_path.iterdir()) == []
