"""Data and runs in object storage as a user types it, over a line that fails now and then."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.command import dfbench, start_dfbench
from support.job import Ended, Member
from support.photos import write_photos
from support.s3 import KEYS, Fault, Flaky, Request, free_port, s3_server

from dfbench.results.store import card_paths
from dfbench.storage.listing import Listing
from dfbench.storage.mirror import Mirror
from dfbench.storage.stage import Stage
from dfbench.storage.url import Url
from dfbench.train.history import read_history

pytestmark = pytest.mark.slow
pytest.importorskip("s3fs", reason="needs s3fs: pip install 'dfbench[s3]'")
pytest.importorskip("moto.server", reason="needs moto's server: pip install 'dfbench[dev]'")

SETTINGS = (
    *("--set", "data.detector=none", "--set", "data.crop_size=32", "--set", "model.input_size=32"),
    *("--set", "training.batch_size=8", "--set", "scoring.resamples=50", "--jobs", "1"),
)
PLACES = ("--data-dir", "s3://bench/data", "--runs-dir", "s3://bench/runs")


@dataclass(frozen=True)
class Home:
    path: Path
    photos: Path
    flaky: Flaky

    @property
    def environment(self) -> dict[str, str]:
        # What is not closed at the end would be said.
        return {**KEYS, "AWS_ENDPOINT_URL": self.flaky.url, "PYTHONWARNINGS": "always"}

    def call(self, machine: str, *arguments: str) -> Ended:
        done = dfbench(*arguments, cwd=self.path, cache=self.path / machine, **self.environment)
        return Ended(done.returncode, done.stdout, done.stderr)

    def run(self, machine: str, *more: str) -> Ended:
        train = ("run", "--train", f"folder:{self.photos}")
        return self.call(machine, *train, *SETTINGS, *PLACES, *more)

    def start(self, machine: str, *more: str) -> Member:
        said = self.path / f"{machine}-{time.monotonic_ns()}"
        train = ("run", "--train", f"folder:{self.photos}")
        with said.with_suffix(".out").open("w") as out, said.with_suffix(".err").open("w") as err:
            process = start_dfbench(
                *(*train, *SETTINGS, *PLACES, *more),
                cwd=self.path,
                cache=self.path / machine,
                stdout=out,
                stderr=err,
                **self.environment,
            )
        return Member(process, said)


def now_and_then(asked: Request) -> Fault | None:
    """Fail each seventh request of a method, by turns in these ways."""
    faults = (
        Fault(status=500),
        Fault(cut_answer=900),
        Fault(status=503),
        Fault(cut_request=10),
        Fault(cut_answer=10),
        Fault(pause=0.5),
    )
    turn, rest = divmod(asked.number, 7)
    return faults[turn % len(faults)] if rest == 0 else None


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    import fsspec

    path = tmp_path_factory.mktemp("home")
    photos = write_photos(path / "mine", real=40, fake=40)
    with s3_server() as port, pytest.MonkeyPatch.context() as patched:
        flaky = Flaky(port, plan=now_and_then)
        for name, value in (KEYS | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}).items():
            patched.setenv(name, value)
        fsspec.filesystem("s3").mkdir("bench")
        yield Home(path, photos, flaky)
        flaky.close()


@pytest.fixture(scope="module")
def first(home: Home) -> Ended:
    return home.run("first")


def place(home: Home, name: str) -> Mirror:
    return Mirror(Url(f"s3://bench/{name}"), Stage(home.path / "look" / name))


def test_the_first_machine_sends_all(home: Home, first: Ended) -> None:
    assert first.code == 0, first.stderr
    assert home.flaky.faults > 5
    assert "nclosed" not in first.stderr
    assert "Warning" not in first.stderr
    assert "card: s3://bench/runs/meso4-" in first.stdout
    assert len(place(home, "data").units()) == 1
    assert len(place(home, "runs").units()) == 2


def test_the_second_machine_uses_all_of_it(home: Home, first: Ended) -> None:
    second = home.run("second")
    assert second.code == 0, second.stderr
    for text in ("reusing prepared", "reusing the finished training", "reusing the scores"):
        assert f"{text} " in second.stderr
    assert "preparing" not in second.stderr
    assert "epochs" not in second.stderr
    lines = [line for line in first.stdout.splitlines() if not line.startswith("page: ")]
    assert [s for s in second.stdout.splitlines() if not s.startswith("page: ")] == lines


def test_pages_and_verdicts_from_the_url_are_those_of_the_folder(home: Home, first: Ended) -> None:
    (folder,) = home.path.glob("first/remote/s3---bench-runs-*/*/files")
    local = home.call("first", "leaderboard", str(folder), "--out", "local")
    copied = home.call("third", "leaderboard", "s3://bench/runs", "--out", "copied")
    assert (local.code, copied.code) == (0, 0), copied.stderr
    names = sorted(p.name for p in (home.path / "local").iterdir())
    assert names == sorted(p.name for p in (home.path / "copied").iterdir())
    for name in names:
        mine, theirs = ((home.path / side / name).read_bytes() for side in ("local", "copied"))
        # Its links to cards are all in which they differ.
        inside = f"../{folder.relative_to(home.path)}/".encode()
        assert mine.replace(inside, b"s3://bench/runs/") == theirs, name

    local = home.call("first", "verify", str(folder))
    copied = home.call("third", "verify", "s3://bench/runs")
    assert copied.code == 0, copied.stdout + copied.stderr
    assert copied.stdout == local.stdout.replace(str(folder), "s3://bench/runs")
    (card,) = card_paths(folder)
    single = home.call("third", "verify", f"s3://bench/runs/{card.relative_to(folder)}")
    assert single.stdout.endswith("1 card verified\n")


def test_a_run_is_scored_and_reported_from_its_url(home: Home, first: Ended) -> None:
    (run,) = (u for u in place(home, "runs").units() if "/" not in u)
    url = f"s3://bench/runs/{run}"
    done = home.call("fourth", "report", url)
    assert done.code == 0, done.stderr
    assert (home.path / "report" / "index.html").is_file()
    again = ("eval", url, "--eval", f"folder:{home.photos}", "--overwrite", *PLACES[:2])
    done = home.call("fourth", *again)
    assert done.code == 0, done.stderr
    assert f"card: {url}/evals/" in done.stdout
    picture = next((home.photos / "real").iterdir())
    done = home.call("fifth", "predict", str(picture), "--checkpoint", url, "--json")
    assert done.code in (0, 3), done.stderr  # noise has no face


def wait_for(event: Callable[[], bool], member: Member) -> None:
    end = time.monotonic() + 240
    while not event():
        assert time.monotonic() < end
        assert member.process.poll() is None, member.said.with_suffix(".err").read_text()
        time.sleep(0.05)


def test_a_training_that_is_killed_goes_on_on_another_machine(home: Home) -> None:
    more = ("--seed", "5", "--set", "training.epochs=12")
    runs = place(home, "runs")
    there: list[Listing] = []

    def begun() -> bool:
        units = [u for u in runs.units() if "-s5-" in u and "/" not in u]
        found = runs.listing(units[0]) if units else None
        if found is not None:
            there.append(found)
        return found is not None

    member = home.start("sixth", *more)
    wait_for(begun, member)
    assert not there[0].finished
    os.killpg(member.process.pid, signal.SIGKILL)
    member.process.wait()
    done = home.run("seventh", *more, "--resume")
    assert done.code == 0, done.stderr
    one, two = (
        read_history(next(home.path.glob(f"{name}/remote/*runs*/*/files/*-s5-*/metrics.jsonl")))
        for name in ("sixth", "seventh")
    )
    # The rows have speeds: what is equal was not trained again.
    assert two[:2] == one[:2]
    assert [row["epoch"] for row in two if "val_loss" in row] == list(range(1, 13))


def test_two_processes_on_two_machines(home: Home) -> None:
    """Each has a copy of its own; the second one gets what the first one has made."""
    port = free_port()
    members = []
    for number in range(2):
        job = ("--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process", str(number))
        members.append(home.start(f"node{number}", "--seed", "6", *job))
    ended = [member.end(300) for member in members]
    assert [one.code for one in ended] == [0, 0], ended[0].stderr + ended[1].stderr
    done = home.run("alone", "--seed", "6")
    assert done.code == 0, done.stderr
    assert "reusing the scores" in done.stderr


def test_mistakes_are_said_in_a_line(home: Home) -> None:
    for arguments, message in (
        (("leaderboard", "s3://bench/nothing"), "no result card"),
        (("leaderboard", "s3:/bench/runs"), "a slash is missing: s3://bench/runs"),
        (("verify", "s3://no-such-bucket/runs"), "there is no such bucket"),
        (("eval", "s3://bench/runs/none", "--eval", "synth_swap"), "no finished training"),
        (("report", "s3://bench/nothing"), "no result card"),
        (("predict", "x.png", "--checkpoint", "s3://bench/runs/none"), "no such run"),
        (
            ("run", "--train", "synth_swap", "--runs-dir", "s3://no-such-bucket/runs"),
            "there is no such bucket",
        ),
    ):
        done = home.call("eighth", *arguments)
        assert done.code == 2, (arguments, done.stderr)
        line = done.stderr.splitlines()[-1]
        assert line.startswith("dfbench: ")
        assert message in line
        assert "s3:/" in line
        assert "Traceback" not in done.stderr
