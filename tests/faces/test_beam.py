"""The Beam pipeline writes what the processes of one machine write."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import re
import socket
import subprocess
import sys
import time
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.crash import start_crashing_worker
from support.media import write_image, write_video
from support.photos import AS_THEY_ARE, write_photos

pytest.importorskip("apache_beam", reason="Apache Beam (the extra `beam`) is not installed")

from dfbench import cli
from dfbench.data.prepare import prepare
from dfbench.data.prepared import Prepared
from dfbench.data.spec import parse_spec
from dfbench.errors import UserError
from dfbench.faces import beam, extract
from dfbench.faces.beam import beam_extraction
from dfbench.faces.clip import Clip, CropRecipe
from dfbench.faces.detect import DetectorChoice
from dfbench.faces.extract import Task, extract_clips, read_shard
from dfbench.faces.worker import Limits

NONE = DetectorChoice("none")
RECIPE = CropRecipe(detector="none", frames=4, size=32)
IN_THIS_PROCESS = beam.beam_extraction(["direct_running_mode=in_memory"])


def clips_of(folder: Path, *names: str) -> list[Clip]:
    return [
        Clip(
            path=folder / name,
            label=0,
            split="train",
            video=f"t/real/{name}",
            manipulation="real",
        )
        for name in names
    ]


def contents(shards: list[Path]) -> dict[str, bytes]:
    return {shard.name: shard.read_bytes() for shard in shards}


@pytest.mark.parametrize(
    "options",
    [
        pytest.param([], id="threads"),
        pytest.param(
            ["direct_running_mode=multi_processing"], id="processes", marks=pytest.mark.slow
        ),
    ],
)
def test_shards_are_those_of_the_local_runner(tmp_path: Path, options: list[str]) -> None:
    names = []
    for number in range(6):
        write_image(tmp_path / f"{number}.png", number)
        write_video(tmp_path / f"{number}.mp4", 6 + number)
        names += [f"{number}.png", f"{number}.mp4"]
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.jpg").write_text("no picture")
    clips = clips_of(tmp_path, *names, "empty.mp4", "text.jpg", "gone.png")
    clips[1] = dataclasses.replace(clips[1], label=1, original=clips[3].video)
    recipe = dataclasses.replace(RECIPE, boxes="original")  # clip 3 comes before clip 1
    local = extract_clips(clips, recipe, tmp_path / "local", detector=NONE, jobs=2)
    calls: list[tuple[int, int]] = []
    by_beam = beam_extraction(options)(
        clips,
        recipe,
        tmp_path / "beam",
        detector=NONE,
        jobs=2,
        progress=lambda done, total, note="": calls.append((done, total)),
    )
    assert [shard.name for shard in by_beam] == [shard.name for shard in local]
    assert contents(by_beam) == contents(local)
    assert sorted((tmp_path / "beam").iterdir()) == sorted(by_beam)  # nothing else is left
    assert calls[-1] == (15, 15)
    reasons = [read_shard(shard).reason for shard in by_beam[-3:]]
    for reason, word in zip(reasons, ("empty file", "not an image", "No such file"), strict=True):
        assert word in reason


def _port() -> int:
    with socket.socket() as opened:
        opened.bind(("localhost", 0))
        return int(opened.getsockname()[1])


@contextlib.contextmanager
def _server(module: str, option: str, folder: Path) -> Iterator[int]:
    """Run one of Beam's servers until it answers; its workers start `python` of the PATH."""
    port = _port()
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    command = [sys.executable, "-m", f"apache_beam.runners.{module}", f"{option}={port}"]
    with (folder / f"{port}.log").open("w") as log:
        server = subprocess.Popen(command, env=env, stdout=log, stderr=log)
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("localhost", port)):
                break
            assert server.poll() is None, (folder / f"{port}.log").read_text()
            time.sleep(0.1)
        yield port
    finally:
        server.terminate()
        server.wait(30)


@pytest.mark.slow
def test_a_job_server_and_workers_of_their_own(tmp_path: Path) -> None:
    """What a job takes to Flink and Spark: the portable API, and a worker pool beside them."""
    for number in range(4):
        write_image(tmp_path / f"{number}.png", number)
    (tmp_path / "empty.mp4").touch()
    clips = clips_of(tmp_path, *(f"{number}.png" for number in range(4)), "empty.mp4")
    local = extract_clips(clips, RECIPE, tmp_path / "local", detector=NONE, jobs=1)
    jobs, pool = "portability.local_job_service_main", "worker.worker_pool_main"
    with (
        _server(jobs, "--port", tmp_path) as endpoint,
        _server(pool, "--service_port", tmp_path) as workers,
    ):
        options = [f"job_endpoint=localhost:{endpoint}", "environment_type=EXTERNAL"]
        options += ["runner=PortableRunner", f"environment_config=localhost:{workers}"]
        shards = beam_extraction(options)(clips, RECIPE, tmp_path / "shards", detector=NONE, jobs=1)
    assert contents(shards) == contents(local)


def test_finished_clips_are_not_done_again(tmp_path: Path) -> None:
    for number in range(3):
        write_image(tmp_path / f"{number}.png", number)
    clips = clips_of(tmp_path, "0.png", "1.png", "2.png")
    shards = extract_clips(clips, RECIPE, tmp_path / "shards", detector=NONE, jobs=1)
    before = contents(shards)
    times = [shard.stat().st_mtime_ns for shard in shards]
    shards[1].unlink()
    again = beam_extraction([])(clips, RECIPE, tmp_path / "shards", detector=NONE, jobs=1)
    assert contents(again) == before
    now = [shard.stat().st_mtime_ns for shard in shards]
    assert [old == new for old, new in zip(times, now, strict=True)] == [True, False, True]


def packed(prepared: Prepared) -> dict[str, bytes]:
    files = [*prepared.folder.glob("*array_record*"), prepared.folder / "frames.parquet"]
    return {file.name: file.read_bytes() for file in files}


def test_prepared_files_are_those_of_the_local_runner(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = write_photos(tmp_path / "mine", real=8, fake=8)
    (root / "real" / "bad.png").write_text("no picture")
    (spec,) = parse_spec(f"folder:{root}")
    local = prepare(spec, AS_THEY_ARE, data_dir=tmp_path / "local", jobs=1)
    arguments = ["prepare", spec.text, "--data-dir", str(tmp_path / "beam"), "--jobs", "2"]
    arguments += ["--set", "data.detector=none", "--set", "data.crop_size=32", "--runner", "beam"]
    assert cli.main(arguments) == 0
    assert "no crop: folder/real/bad.png: not an image" in capsys.readouterr().out
    by_beam = prepare(spec, AS_THEY_ARE, data_dir=tmp_path / "beam")  # uses what is there
    assert packed(by_beam) == packed(local)
    assert len(packed(by_beam)) >= 3
    assert dataclasses.replace(by_beam.manifest, created="") == dataclasses.replace(
        local.manifest, created=""
    )


def test_a_worker_reads_its_own_task_of_a_plan(tmp_path: Path) -> None:
    clips = clips_of(tmp_path, *(f"{n}.png" for n in range(3)))
    tasks = [Task(clip, tmp_path / clip.video, tmp_path) for clip in clips]
    beam.write_plan(tmp_path / "plan", tasks)
    assert [beam.read_task(tmp_path / "plan", n) for n in (2, 0, 1)] == [
        tasks[2],
        tasks[0],
        tasks[1],
    ]
    # 100,000 of them: one is read, and not all.
    large = [Task(clip, Path("x" * 10_000)) for clip in clips * 300]
    beam.write_plan(tmp_path / "large", large)
    tracemalloc.start()
    try:
        assert beam.read_task(tmp_path / "large", 899) == large[899]
        assert tracemalloc.get_traced_memory()[1] < 300_000
    finally:
        tracemalloc.stop()


def test_a_folder_that_workers_do_not_see_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_image(tmp_path / "a.png")
    clips = clips_of(tmp_path, "a.png")
    monkeypatch.setattr(beam._ExtractFn, "process", lambda self, number: None)
    with pytest.raises(UserError, match=r"shards: .*1 of 1 results.*t/real/a\.png"):
        IN_THIS_PROCESS(clips, RECIPE, tmp_path / "shards", detector=NONE, jobs=1)
    with pytest.raises(UserError, match="nowhere: a worker does not see this folder"):
        beam._ExtractFn(tmp_path / "nowhere" / "plan", RECIPE, NONE, Limits()).setup()


def test_a_crash_costs_one_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_start_worker", start_crashing_worker)
    names = ("a.png", "bad.png", "b.png")
    for name in names:
        write_image(tmp_path / name)
    shards = IN_THIS_PROCESS(
        clips_of(tmp_path, *names), RECIPE, tmp_path / "shards", detector=NONE, jobs=1
    )
    results = [read_shard(shard) for shard in shards]
    assert [len(result.crops) for result in results] == [1, 0, 1]
    assert results[1].reason == f"{extract.CRASHED} (signal 6)"


def test_a_full_disk_is_one_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def full(self: object, task: Task) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(task.shard))

    write_image(tmp_path / "a.png")
    monkeypatch.setattr(beam._ExtractFn, "_work", full)
    with pytest.raises(OSError, match=r"No space left on device: .*shards'$"):
        IN_THIS_PROCESS(
            clips_of(tmp_path, "a.png"), RECIPE, tmp_path / "shards", detector=NONE, jobs=1
        )
    assert list((tmp_path / "shards").iterdir()) == []
    assert "Traceback" not in capfd.readouterr().err


def test_the_options_of_the_page_exist() -> None:
    page = (Path(__file__).resolve().parents[2] / "docs" / "prepare.md").read_text("utf-8")
    commands = re.findall(r"```\n(dfbench prepare .*?)```", page, re.DOTALL)
    assert len(commands) == 3
    for command in commands:
        beam_extraction(re.findall(r"--beam-option (\S+)", command))


def test_options_are_passed_on(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    clips = clips_of(tmp_path, "a.png")
    with pytest.raises(UserError, match=r"pipeline failed: .*NoSuchRunner"):
        beam_extraction(["runner=NoSuchRunner"])(
            clips, RECIPE, tmp_path / "shards", detector=NONE, jobs=1
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--beam-option", "runner=DirectRunner"], "--beam-option needs --runner beam"),
        (["--runner", "beam", "--beam-option", "flink_mastr=x"], "no option 'flink_mastr'"),
    ],
)
def test_wrong_options_are_one_line(
    tmp_path: Path, options: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["prepare", f"folder:{tmp_path}", *options]) == 2
    printed = capsys.readouterr().err
    assert message in printed
    assert printed.count("\n") == 1
