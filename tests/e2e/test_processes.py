"""One training by several processes, as a user types it: the same numbers as by one."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cards import card_without_times
from support.job import Ended, Member, start_job
from support.photos import write_photos

from dfbench.eval.scores import read_scores
from dfbench.processes import LOST, LOST_TEXT
from dfbench.results.store import card_paths, read_card
from dfbench.workflow.verify import verify

pytestmark = pytest.mark.slow  # continuous integration runs it by a command of its own: make e2e

SETTINGS = (
    *("--set", "data.detector=none", "--set", "data.crop_size=32"),
    *("--set", "model.input_size=32", "--set", "augment.flip=0.5"),
    *("--set", "training.batch_size=8", "--set", "scoring.batch_size=12"),
    *("--set", "scoring.resamples=50", "--jobs", "1"),
)


@dataclass(frozen=True)
class Home:
    path: Path
    mine: Path
    yours: Path

    def start(self, runs: str, *more: str, count: int, devices: int, epochs: int) -> list[Member]:
        return start_job(
            *("run", "--train", f"folder:{self.mine}", "--eval", f"folder:{self.yours}"),
            *("--runs-dir", runs, "--set", f"training.epochs={epochs}", *SETTINGS, *more),
            count=count,
            devices=devices,
            cwd=self.path,
            cache=self.path / "cache",
        )

    def run(self, runs: str, *more: str, count: int, devices: int, epochs: int = 2) -> list[Ended]:
        members = self.start(runs, *more, count=count, devices=devices, epochs=epochs)
        return [member.end(240) for member in members]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    path = tmp_path_factory.mktemp("job")
    mine = write_photos(path / "mine", real=40, fake=40)
    return Home(path, mine, write_photos(path / "yours", real=25, fake=25, seed=1))


@pytest.fixture(scope="module")
def two(home: Home) -> list[Ended]:
    """Of a job of two processes, which prepares the data."""
    return home.run("two", count=2, devices=1)


@pytest.fixture(scope="module")
def one(home: Home, two: list[Ended]) -> Ended:
    (ended,) = home.run("one", count=1, devices=2)
    return ended


def test_all_end_well_and_the_first_one_speaks(two: list[Ended]) -> None:
    assert [ended.code for ended in two] == [0, 0], two[0].stderr + two[1].stderr
    assert "card: " in two[0].stdout
    assert two[1].stdout == ""
    ours = [line for line in two[1].stderr.splitlines() if not line.startswith("[Gloo]")]
    assert ours == []


def test_numbers_are_those_of_one_process(home: Home, one: Ended, two: list[Ended]) -> None:
    assert one.code == 0, one.stderr
    assert _same(home.path / "one", home.path / "two", exact=True)


def test_the_card_says_what_one_process_would(home: Home, one: Ended, two: list[Ended]) -> None:
    mine, theirs = (_cards(home.path / runs) for runs in ("one", "two"))
    assert mine == theirs
    assert mine[0]["environment"]["device_count"] == 2


def test_cards_verify(home: Home, two: list[Ended]) -> None:
    assert all(verdict.good for verdict in verify([home.path / "two"]))


def test_a_second_call_reuses_everything(home: Home, two: list[Ended]) -> None:
    again = home.run("two", count=2, devices=1)
    assert [ended.code for ended in again] == [0, 0]
    assert "reusing the finished training" in again[0].stderr
    assert again[0].stderr.count("reusing the scores") == 2


def test_a_mistake_is_said_once_by_each_and_nobody_waits(home: Home) -> None:
    start = time.monotonic()
    ended = home.run("odd", "--set", "training.batch_size=9", count=2, devices=1)
    assert time.monotonic() - start < 60
    for one in ended:
        assert one.code in (2, LOST)
        assert "batch size 9 cannot be split over 2" in one.stderr or LOST_TEXT in one.stderr
    assert any("batch size 9 cannot be split over 2" in one.stderr for one in ended)


@pytest.mark.parametrize(("count", "devices"), [(2, 2), (4, 1)])
def test_four_devices_in_several_processes(home: Home, count: int, devices: int) -> None:
    if not (home.path / "four").is_dir():
        assert home.run("four", count=1, devices=4)[0].code == 0
    runs = f"four{count}"
    assert [ended.code for ended in home.run(runs, count=count, devices=devices)] == [0] * count
    # Sums over four devices may be in another order: rounding differs.
    assert _same(home.path / "four", home.path / runs, exact=False)


@pytest.mark.parametrize("killed", [1, 0])
def test_a_killed_process_ends_the_others_and_resume_works(home: Home, killed: int) -> None:
    runs, epochs = f"killed{killed}", 400
    members = home.start(runs, count=2, devices=1, epochs=epochs)
    _wait_for(lambda: any((home.path / runs).glob("*/checkpoints/last")), members)
    members[killed].kill()
    start = time.monotonic()
    left = members[1 - killed].end(120)
    assert time.monotonic() - start < 60
    assert left.code == LOST
    assert LOST_TEXT in left.stderr
    (record,) = (home.path / runs).glob("*/metrics.jsonl")
    before = [json.loads(line) for line in record.read_text().splitlines()]
    assert 0 < before[-1]["epoch"] < epochs
    resumed = home.start(runs, "--resume", count=2, devices=1, epochs=epochs)
    later = _wait_for(lambda: _epochs(record) > before[-1]["epoch"] + 2, resumed)
    assert later
    for member in resumed:
        member.process.send_signal(signal.SIGTERM)
    assert all(member.end(60).code != 0 for member in resumed)
    rows = [json.loads(line) for line in record.read_text().splitlines() if line.endswith("}")]
    assert [row["step"] for row in rows] == sorted(row["step"] for row in rows)


def _epochs(record: Path) -> int:
    rows = [line for line in record.read_text().splitlines() if line.endswith("}")]
    return int(json.loads(rows[-1])["epoch"]) if rows else 0


def _wait_for(there: Callable[[], bool], members: list[Member]) -> bool:
    for _ in range(1200):
        if there():
            return True
        if any(member.process.poll() is not None for member in members):
            pytest.fail(f"a process ended too early: {[m.end(1) for m in members]}")
        time.sleep(0.1)
    pytest.fail("nothing happened")


def _cards(runs: Path) -> list[dict[str, Any]]:
    found = [card_without_times(path) for path in card_paths(runs)]
    assert len(found) == 2
    return found


def _same(one: Path, two: Path, *, exact: bool) -> bool:
    names = [path.relative_to(one) for path in sorted(one.rglob("*scores.parquet"))]
    assert len(names) == 5
    for name in names:
        a, b = read_scores(one / name), read_scores(two / name)
        assert a.video.tolist() == b.video.tolist()
        if exact:
            np.testing.assert_array_equal(a.logit, b.logit)
        else:
            np.testing.assert_allclose(a.logit, b.logit, rtol=1e-4, atol=1e-4)
    losses = [[_losses(path) for path in folder.glob("*/metrics.jsonl")] for folder in (one, two)]
    np.testing.assert_allclose(*losses, rtol=0 if exact else 1e-4)
    for path in card_paths(one):
        mine, theirs = read_card(path), read_card(two / path.relative_to(one))
        for name, metric in mine.metrics.items():
            if exact:
                assert theirs.metrics[name] == metric
    return True


def _losses(path: Path) -> list[float]:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [row.get("loss", row.get("val_loss")) for row in rows]
