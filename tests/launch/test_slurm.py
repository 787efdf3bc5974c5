"""Jobs on a real SLURM that these tests start: `make slurm` installs it and runs them."""

from __future__ import annotations

import json
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import dfbench
from support.photos import write_photos
from support.shell import HOSTILE, write_fake
from support.slurm import Slurm, running_slurm

from dfbench.results.store import load_cards
from dfbench.signals import STOPPED

PROTOCOL = """
name = "mine"
version = "1"
[cells]
train = ["folder:mine"]
eval = ["folder:yours"]
model = ["meso4"]
seed = [0, 1]
[settings.model]
input_size = 64
dropout = 0.0
[settings.data]
detector = "none"
crop_size = 32
[settings.training]
epochs = {epochs}
batch_size = 8
[settings.scoring]
batch_size = 16
resamples = 20
"""


@pytest.fixture(scope="module")
def slurm() -> Iterator[Slurm]:
    with running_slurm() as cluster:
        yield cluster


def submit(slurm: Slurm, home: Path, *arguments: str | Path) -> dict[str, int]:
    """Launch with --submit, and return the numbers of the jobs; what they say is in `job`."""
    done = dfbench(
        *("launch", "slurm", "--submit", "--out", home / "job", *arguments),
        cwd=home,
        cache=home / "cache",
        **slurm.env,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"jobs: prepare (\d+), train (\d+), leaderboard (\d+)", done.stdout)
    assert found, done.stdout
    return dict(zip(("prepare", "train", "leaderboard"), map(int, found.groups()), strict=True))


def logs(home: Path) -> str:
    """Return what the jobs said, for a test that fails."""
    return "\n".join(f"--- {log.name}\n{log.read_text()}" for log in (home / "job/logs").iterdir())


def test_values_reach_dfbench_as_they_are(slurm: Slurm, tmp_path: Path) -> None:
    home = tmp_path / HOSTILE
    home.mkdir()
    fake, calls = write_fake(
        home, "dfbench", NUMBER='os.environ["NUMBER"]', SET_UP='os.environ["SET_UP"]'
    )
    (home / "set up.sh").write_text("false\nexport SET_UP=yes$UNSET\n")  # careless, as they are
    jobs = submit(
        slurm,
        home,
        *("--protocol", "demo", "--name", HOSTILE, "--dfbench", fake, "--cpus", "2"),
        *("--set", f"model.init={HOSTILE}", "--env", f"NUMBER={HOSTILE}", "--time", "10:00"),
        *("--data-dir", home / "data", "--runs-dir", home / "runs", "--max-parallel", "1"),
        *("--env", f"CALLS={calls}", "--setup", home / "set up.sh"),
        *("--extra=--comment=%x$HOME", "--raw", "synth_swap=raw"),
        *("--out", tmp_path / "job"),
    )
    slurm.wait(list(jobs.values()), 60)
    ran = [json.loads(line) for line in calls.read_text().splitlines()]
    places = ["--data-dir", str(home / "data"), "--runs-dir", str(home / "runs"), "--jobs", "2"]
    matrix = ["matrix", "--protocol", "demo", "--set", f"model.init={HOSTILE}", *places]
    prepare = ["prepare", "synth_swap", "--raw", str(home / "raw"), "--protocol", "demo"]
    prepare += [*places[:2], *places[4:]]
    pages = ["leaderboard", str(home / "runs")]
    assert [call["argv"] for call in ran[:2]] == [prepare, [*matrix, "--prepare-only"]]
    parts = sorted(call["argv"] for call in ran[2:-1])
    assert parts == [[*matrix, "--part", "1/2"], [*matrix, "--part", "2/2"]], logs(tmp_path)
    assert ran[-1]["argv"] == pages
    assert {(call["NUMBER"], call["SET_UP"]) for call in ran} == {(HOSTILE, "yes")}
    assert {call["cwd"] for call in ran} == {str(home)}
    assert slurm.run("squeue", "--noheader") == ""
    assert "x" not in {path.name for path in tmp_path.rglob("*")}


def test_what_fails_in_preparation_trains_nothing(slurm: Slurm, tmp_path: Path) -> None:
    fake, calls = write_fake(tmp_path, "dfbench", status=2)
    jobs = submit(
        slurm,
        tmp_path,
        *("--protocol", "demo", "--dfbench", fake, "--env", f"CALLS={calls}"),
    )
    slurm.wait(list(jobs.values()), 60)
    assert slurm.job(jobs["prepare"])["JobState"] == "FAILED"
    assert slurm.job(f"{jobs['train']}_1")["JobState"] == "CANCELLED"
    ran = [json.loads(line)["argv"][0] for line in calls.read_text().splitlines()]
    assert ran == ["matrix", "leaderboard"]  # the pages show what there was before


@pytest.mark.slow  # trains: make slurm
def test_an_array_makes_its_cards_and_survives_a_requeue(slurm: Slurm, tmp_path: Path) -> None:
    write_photos(tmp_path / "mine", real=40, fake=40)
    write_photos(tmp_path / "yours", real=30, fake=30, seed=1)
    (tmp_path / "mine.toml").write_text(PROTOCOL.format(epochs=15))
    runs = tmp_path / "runs"
    env = ("--env", "JAX_PLATFORMS=cpu", "--env", f"DFBENCH_CACHE={tmp_path / 'cache'}")
    jobs = submit(
        slurm,
        tmp_path,
        *("--protocol", "mine.toml", "--runs-dir", runs, "--data-dir", tmp_path / "data", *env),
    )
    until = time.monotonic() + 600
    while not (started := list(runs.glob("*-s0-*/checkpoints/last"))):
        assert time.monotonic() < until, logs(tmp_path) + slurm.logs()
        time.sleep(0.1)
    assert not (started[0].parents[1] / "training.json").exists()
    slurm.run("scontrol", "requeue", f"{jobs['train']}_1")
    slurm.wait(list(jobs.values()), 900)
    for number in (jobs["prepare"], f"{jobs['train']}_1", f"{jobs['train']}_2"):
        assert slurm.job(number)["JobState"] == "COMPLETED", logs(tmp_path)
    assert slurm.job(f"{jobs['train']}_1")["Restarts"] == "1"
    assert slurm.job(f"{jobs['train']}_2")["Restarts"] == "0"
    cells = [(stored.card.cell.seed, stored.card.cell.eval) for stored in load_cards([runs])]
    assert sorted(cells) == [(s, f"folder:{name}") for s in (0, 1) for name in ("mine", "yours")]
    assert (runs / "leaderboard" / "index.html").is_file()

    said = (tmp_path / "job/logs" / f"train-{jobs['train']}_1.log").read_text()
    epochs = [int(n) for n in re.findall(r"training epoch (\d+)/15", said)]
    assert epochs[-1] == 15
    assert epochs.count(1) == 1, f"the training began again: {epochs}"
    summary = json.loads((started[0].parents[1] / "training.json").read_text())["summary"]
    assert summary["epochs"] == 15


@pytest.mark.slow  # waits for the queue: make slurm
@pytest.mark.parametrize("more", [(), ("--nodes", "2")], ids=["one node", "a step on two"])
def test_the_time_limit_puts_a_task_back(
    slurm: Slurm, tmp_path: Path, more: tuple[str, ...]
) -> None:
    """A fake that needs longer; SLURM warns its script of a limit of a minute at once."""
    fake, calls = write_fake(tmp_path, "dfbench", sleep=30)
    jobs = submit(
        slurm,
        tmp_path,
        *("--protocol", "demo", "--dfbench", fake, "--env", f"CALLS={calls}", "--time", "1"),
        *("--parts", "1", *more),
    )
    first = f"{jobs['train']}_1"
    until = time.monotonic() + 300
    while slurm.job(first)["Restarts"] != "1":
        assert time.monotonic() < until, logs(tmp_path) + slurm.logs()
        time.sleep(0.5)
    slurm.run("scancel", str(jobs["train"]))
    slurm.wait([jobs["train"]], 60)


@pytest.mark.slow  # waits for the queue: make slurm
@pytest.mark.parametrize(("status", "restarts"), [(STOPPED, "1"), (3, "0")])
def test_what_was_stopped_and_saved_goes_back_and_what_failed_does_not(
    slurm: Slurm, tmp_path: Path, status: int, restarts: str
) -> None:
    fake, calls = write_fake(
        tmp_path, "dfbench", again='os.environ.get("SLURM_RESTART_COUNT", "0") != "0"'
    )
    ends = f"sys.exit({status} if '--part' in sys.argv and not noted['again'] else 0)"
    fake.write_text(fake.read_text().replace("sys.exit(0)", ends))
    jobs = submit(
        slurm,
        tmp_path,
        *("--protocol", "demo", "--dfbench", fake, "--env", f"CALLS={calls}", "--parts", "1"),
    )
    slurm.wait(list(jobs.values()), 300)
    task = slurm.job(f"{jobs['train']}_1")
    assert task["Restarts"] == restarts, logs(tmp_path)
    assert task["JobState"] == ("COMPLETED" if status == STOPPED else "FAILED")


@pytest.mark.slow  # trains: make slurm
def test_the_processes_of_two_nodes_make_a_training_together(slurm: Slurm, tmp_path: Path) -> None:
    write_photos(tmp_path / "mine", real=40, fake=40)
    write_photos(tmp_path / "yours", real=30, fake=30, seed=1)
    (tmp_path / "mine.toml").write_text(PROTOCOL.format(epochs=2))
    with socket.socket() as free:  # nodes of this cluster have names that nothing resolves
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    jobs = submit(
        slurm,
        tmp_path,
        *("--protocol", "mine.toml", "--data-dir", tmp_path / "data", "--nodes", "2"),
        *("--env", f"JAX_COORDINATOR_ADDRESS={address}", "--env", "JAX_PLATFORMS=cpu"),
        *("--env", f"DFBENCH_CACHE={tmp_path / 'cache'}", "--env", "JAX_NUM_CPU_DEVICES=1"),
        *("--cpus", "1", "--parts", "1"),
    )
    slurm.wait(list(jobs.values()), 900)
    assert slurm.job(f"{jobs['train']}_1")["JobState"] == "COMPLETED", logs(tmp_path)
    cards = [stored.card for stored in load_cards([tmp_path / "runs"])]
    assert len(cards) == 4
    assert {card.environment.device_count for card in cards} == {2}
