from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.shell import HOSTILE, write_fake

from dfbench import cli
from dfbench.errors import UserError
from dfbench.launch import local
from dfbench.launch.local import Device, devices, find_devices, run_parts
from dfbench.launch.work import Work
from dfbench.progress import Reporter


def work_with(fake: Path, parts: int) -> Work:
    return Work(
        name="x",
        folder=str(fake.parent),
        protocol="tiny",
        data_dir="data",
        runs_dir="runs",
        trainings=parts,
        parts=parts,
        env=(("VALUE", HOSTILE),),
        dfbench=(str(fake),),
    )


def test_devices_of_each_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "_cores", lambda: (0, 1, 2, 5))
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [one.cores for one in devices("cpu", 1, 0)] == [(0, 1, 2, 5)]
    assert [one.cores for one in devices("cpu", 1, 2)] == [(0, 2), (1, 5)]
    assert [one.env for one in devices("gpu", 3, 0)] == [
        {"CUDA_VISIBLE_DEVICES": str(n)} for n in range(3)
    ]
    assert [dict(one.env) for one in devices("gpu", 3, 1)] == [{}]
    assert [one.env["CUDA_VISIBLE_DEVICES"] for one in devices("gpu", 4, 2)] == ["0,1", "2,3"]
    tpus = devices("tpu", 4, 0)
    assert [one.env["TPU_VISIBLE_CHIPS"] for one in tpus] == ["0", "1", "2", "3"]
    assert {one.env["TPU_CHIPS_PER_PROCESS_BOUNDS"] for one in tpus} == {"1,1,1"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,GPU-ab")  # what the user leaves us
    assert [one.env["CUDA_VISIBLE_DEVICES"] for one in devices("gpu", 2, 0)] == ["4", "GPU-ab"]


@pytest.mark.parametrize(
    ("backend", "count", "workers", "message"),
    [
        ("cpu", 1, 3, "3 are more than the 2 cores"),
        ("gpu", 2, 3, r"3 are more than the 2 devices \(gpu\)"),
        ("gpu", 4, 3, "4 devices cannot be shared by 3"),
        ("tpu", 4, 2, "one process a chip, or one of all"),
    ],
)
def test_more_processes_than_there_is_room_for(
    backend: str, count: int, workers: int, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "_cores", lambda: (0, 1))
    with pytest.raises(UserError, match=message):
        devices(backend, count, workers)


def test_parts_go_to_whoever_is_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, calls = write_fake(
        tmp_path,
        "dfbench",
        sleep=0.2,
        DEVICE='os.environ.get("DEVICE")',
        VALUE='os.environ["VALUE"]',
        CORES="sorted(os.sched_getaffinity(0))",
    )
    monkeypatch.setenv("CALLS", str(calls))
    core = sorted(os.sched_getaffinity(0))[0]
    chosen = [
        Device(name="one", env={"DEVICE": "one"}, cores=(core,)),
        Device(name="two", env={"DEVICE": "two"}),
    ]
    said: list[str] = []
    ended = run_parts(work_with(fake, 5), chosen, tmp_path / "logs", Reporter(say=said.append))
    assert sorted(one.part for one in ended) == [1, 2, 3, 4, 5]
    assert {one.status for one in ended} == {0}
    ran = [json.loads(line) for line in calls.read_text().splitlines()]
    assert sorted(call["argv"][-1] for call in ran) == [f"{k}/5" for k in range(1, 6)]
    assert {call["VALUE"] for call in ran} == {HOSTILE}
    assert {tuple(call["CORES"]) for call in ran if call["DEVICE"] == "one"} == {(core,)}
    assert min(sum(call["DEVICE"] == name for call in ran) for name in ("one", "two")) >= 1
    assert len(said) == 5
    assert (tmp_path / "logs" / "part-3.log").read_text().startswith("--- part 3 of 5 on ")


SCRIPT = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # tests may run where it is passed over
sys.path.insert(0, {tests!r})
from pathlib import Path
from dfbench.launch.local import Device, run_parts
from test_local import work_with
run_parts(work_with(Path({fake!r}), 4), [Device(name="a", env={{}}), Device(name="b", env={{}})],
          Path({fake!r}).parent / "logs")
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_all(tmp_path: Path, number: signal.Signals) -> None:
    fake, calls = write_fake(tmp_path, "dfbench", sleep=60, PID="os.getpid()")
    text = SCRIPT.format(tests=str(Path(__file__).parent), fake=str(fake))
    paths = [str(Path(__file__).parents[1]), str(Path(__file__).parents[2])]
    env = {**os.environ, "CALLS": str(calls), "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen([sys.executable, "-c", text], env=env, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not (calls.exists() and len(calls.read_text().splitlines()) == 2):
            assert time.monotonic() < until
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        assert process.wait(40) != 0
    finally:
        process.kill()
        process.wait()
    for line in calls.read_text().splitlines():
        with pytest.raises(ProcessLookupError):
            os.kill(json.loads(line)["PID"], 0)


def test_devices_are_asked_of_jax_in_another_process(tmp_path: Path) -> None:
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "a warning"\necho \'["gpu", 8]\'\n')
    python.chmod(0o755)
    assert find_devices(str(python)) == ("gpu", 8)
    python.write_text("#!/bin/sh\necho 'RuntimeError: no driver' >&2\nexit 1\n")
    with pytest.raises(UserError, match="RuntimeError: no driver"):
        find_devices(str(python))


def test_the_command_names_what_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    fake, calls = write_fake(tmp_path / "bin", "dfbench")
    text = fake.read_text().replace("sys.exit(0)", "sys.exit(3 if sys.argv[-1] == '2/2' else 0)")
    fake.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CALLS", str(calls))
    monkeypatch.setattr(local, "find_devices", lambda: ("cpu", 1))
    (tmp_path / "mine.toml").write_text(
        'name = "mine"\nversion = "1"\n[cells]\ntrain = ["uadfv", "celebdf"]\neval = []\n'
        'model = ["meso4"]\n'
    )
    arguments = ("local", "--protocol", "mine.toml", "--dfbench", str(fake), "--data-dir", "data")
    assert cli.main(["launch", *arguments, "--allow-leak"]) == 3
    out = capfd.readouterr().out
    log = tmp_path / "jobs/local-dfbench-mine-1/logs/part-2.log"
    assert f"failed: part 2/2, exit status 3: {log}" in out
    ran = [json.loads(line)["argv"] for line in calls.read_text().splitlines()]
    copy = str(tmp_path / "jobs/local-dfbench-mine-1/protocol.toml")
    matrix = ["matrix", "--protocol", copy, "--allow-leak", "--data-dir", str(tmp_path / "data")]
    matrix += ["--runs-dir", str(tmp_path / "runs")]
    assert ran == [
        [*matrix, "--prepare-only"],
        [*matrix, "--part", "1/2"],
        [*matrix, "--part", "2/2"],
        ["leaderboard", str(tmp_path / "runs")],
    ]
    write_fake(tmp_path / "bin", "dfbench", status=2)
    assert cli.main(["launch", *arguments]) == 2  # of the preparation: nothing is trained
    assert len(calls.read_text().splitlines()) == 5
