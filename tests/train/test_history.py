from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.train.history import History, read_history


@pytest.fixture
def history(tmp_path: Path) -> History:
    history = History(tmp_path / "metrics.jsonl")
    for step in (10, 20, 20, 30):
        history.append(step=step, loss=1 / step)
    return history


def test_rows_come_back(history: History) -> None:
    history.append(step=40, loss=None, best=True)
    rows = read_history(history.path)
    assert [row["step"] for row in rows] == [10, 20, 20, 30, 40]
    assert rows[0] == {"step": 10, "loss": 0.1}
    assert rows[-1] == {"step": 40, "loss": None, "best": True}


@pytest.mark.parametrize(("step", "kept"), [(0, 0), (10, 1), (19, 1), (20, 3), (99, 4)])
def test_keep_until(history: History, step: int, kept: int) -> None:
    history.keep_until(step)
    assert len(read_history(history.path)) == kept
    history.append(step=21)
    assert len(read_history(history.path)) == kept + 1


@pytest.mark.parametrize("line", [b"\xff\xfe", b"[" * 100_000, b"3", b'{"step": '])
def test_a_line_that_is_no_row_ends_the_rows(history: History, line: bytes) -> None:
    history.path.write_bytes(history.path.read_bytes() + line + b'\n{"step": 40}\n')
    assert len(read_history(history.path)) == 4


@pytest.mark.parametrize("cut", [1, 5, 12])
def test_a_torn_last_line_is_left_out(history: History, cut: int) -> None:
    whole = history.path.read_bytes()
    history.path.write_bytes(whole[:-cut])
    kept = 4 if cut == 1 else 3  # without its newline alone, the row is whole
    assert len(read_history(history.path)) == kept
    history.keep_until(30)
    history.append(step=40)
    assert [row["step"] for row in read_history(history.path)][kept:] == [40]


def test_no_file_yet(tmp_path: Path) -> None:
    history = History(tmp_path / "metrics.jsonl")
    history.keep_until(3)
    assert not history.path.exists()
