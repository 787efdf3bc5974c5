"""Two commands on the same results: one works, and the other waits for it and looks again."""

from __future__ import annotations

import dataclasses
import errno
import os
import shutil
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from workflow.conftest import Trained

from dfbench.errors import UserError
from dfbench.locks import one_at_a_time
from dfbench.progress import SILENT, Reporter
from dfbench.workflow import evaluate as evaluation
from dfbench.workflow import training
from dfbench.workflow.alone import alone
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.pages import leaderboard
from dfbench.workflow.record import RECORD
from dfbench.workflow.training import train


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Make threads: locks are of open files, so that each is another process to them."""
    with ThreadPoolExecutor(3) as threads:
        yield threads


def wait_for(said: list[str], end: str) -> str:
    until = time.monotonic() + 120
    while not (found := [line for line in said if line.endswith(end)]):
        assert time.monotonic() < until, said
        time.sleep(0.01)
    return found[0]


def test_one_works_and_the_other_waits_for_whom_it_says(
    tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    folder, said, order = tmp_path / "run", list[str](), list[int]()

    def work() -> None:
        with alone(folder, "run is being trained", Reporter(say=said.append)):
            order.append(2)

    with alone(folder, "run is being trained", SILENT):
        other = pool.submit(work)
        line = wait_for(said, ": waiting for it")
        order.append(1)
    other.result(60)
    assert order == [1, 2]
    assert line.startswith(f"run is being trained by process {os.getpid()} on ")
    assert list(tmp_path.iterdir()) == []


def test_what_the_disk_refuses_is_one_line(tmp_path: Path) -> None:
    def refused() -> None:
        raise OSError(errno.EIO, "Input/output error")

    with (
        pytest.raises(UserError, match=rf"^{tmp_path / 'run'}: Input/output error; look after"),
        alone(tmp_path / "run", "run is being trained", SILENT),
    ):
        refused()
    assert list(tmp_path.iterdir()) == []


def test_a_training_waits_and_takes_what_the_other_one_made(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    places = dataclasses.replace(trained.places, runs_dir=tmp_path)
    folder = tmp_path / trained.folder.name
    shutil.copytree(trained.folder, folder)
    record = (folder / RECORD).read_bytes()
    (folder / RECORD).unlink()
    monkeypatch.setattr(training, "fit", lambda *_, **__: pytest.fail("it trained too"))
    said: list[str] = []

    def other_job() -> Path:
        reporter = Reporter(say=said.append)
        return train(trained.config, places, resume=True, reporter=reporter)

    with one_at_a_time(folder.with_name(f".lock-{folder.name}")):
        other = pool.submit(other_job)
        line = wait_for(said, ": waiting for it")
        (folder / RECORD).write_bytes(record)
    assert other.result(60) == folder
    assert line.startswith(f"{folder} is being trained by process ")
    assert said[-1] == f"reusing the finished training {folder}"
    assert not list(tmp_path.glob(".lock*"))


def test_an_evaluation_waits_and_takes_what_the_other_one_made(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pool: ThreadPoolExecutor
) -> None:
    places = dataclasses.replace(trained.places, runs_dir=tmp_path)
    folder = tmp_path / trained.folder.name
    shutil.copytree(trained.folder, folder)
    shutil.rmtree(folder / "evals")
    (folder / "val_scores.parquet").unlink()
    made: list[int] = []
    predict = evaluation.predict

    def slowly(*args: object, **options: object) -> object:
        made.append(threading.get_ident())
        time.sleep(0.5)
        return predict(*args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(evaluation, "predict", slowly)
    said: list[str] = []

    def score() -> Path:
        spec = trained.across[0].cell.eval
        return evaluate(folder, spec, places, reporter=Reporter(say=said.append))[1]

    paths = [task.result(120) for task in [pool.submit(score) for _ in range(3)]]
    assert len(set(paths)) == 1
    assert len(made) == 2  # the val split and the test split, once
    assert any("is being scored by process " in line for line in said)
    assert not [path for path in folder.rglob(".*") if path.is_file()]


def test_pages_are_written_by_one_after_the_other(
    trained: Trained, tmp_path: Path, pool: ThreadPoolExecutor
) -> None:
    out, said = tmp_path / "pages", list[str]()

    def write() -> list[Path]:
        return leaderboard([trained.folder], out, Reporter(say=said.append))

    with one_at_a_time(tmp_path / ".lock-pages"):
        other = pool.submit(write)
        line = wait_for(said, ": waiting for it")
        assert not out.exists()
    other.result(60)
    assert line.startswith(f"{out} is being written by process ")
    assert (out / "index.html").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["pages"]
    with pytest.raises(UserError, match="no such folder"):
        leaderboard([tmp_path / "nowhere"], tmp_path / "nowhere" / "leaderboard")
    assert not (tmp_path / "nowhere").exists()
