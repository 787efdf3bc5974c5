from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.crash import start_crashing_worker
from support.media import write_image, write_video

from dfbench.errors import UserError
from dfbench.faces import extract
from dfbench.faces.clip import Clip, ClipResult, CropRecipe
from dfbench.faces.detect import DetectorChoice, Face
from dfbench.faces.extract import Task, extract_clips, read_shard, write_shard
from dfbench.faces.one_clip import extract_clip

NONE = DetectorChoice("none")
RECIPE = CropRecipe(detector="none", frames=4, size=32)


def clip(path: Path, *, self_blend: bool = False) -> Clip:
    kind = "self_blend" if self_blend else "real"
    return Clip(
        path=path,
        label=int(self_blend),
        split="train",
        video=f"t/{kind}/{path.name}",
        manipulation=kind,
        self_blend=self_blend,
    )


def test_every_clip_gives_crops_or_a_reason(tmp_path: Path) -> None:
    write_image(tmp_path / "good.png")
    write_video(tmp_path / "good.mp4", 8)
    (tmp_path / "empty.mp4").touch()
    (tmp_path / "text.mp4").write_text("hello " * 100)
    write_image(tmp_path / "whole.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "whole.jpg").read_bytes()[:400])
    names = ["good.png", "good.mp4", "empty.mp4", "text.mp4", "cut.jpg", "gone.jpg"]
    calls: list[tuple[int, int]] = []
    shards = extract_clips(
        [clip(tmp_path / n) for n in names],
        RECIPE,
        tmp_path / "shards",
        detector=NONE,
        jobs=2,
        progress=lambda done, total, note="": calls.append((done, total)),
    )
    results = [read_shard(s) for s in shards]
    assert [r.video for r in results] == [f"t/real/{n}" for n in names]
    assert [len(r.crops) for r in results] == [1, 4, 0, 0, 0, 0]
    assert results[0].reason == results[1].reason == ""
    for result, reason in zip(
        results[2:], ["empty file", "not a video", "truncated", "No such file"], strict=True
    ):
        assert reason.lower() in result.reason.lower()
    assert calls == [(n + 1, 6) for n in range(6)]
    crop = cv2.imdecode(np.frombuffer(results[1].crops[0].image, np.uint8), cv2.IMREAD_COLOR)
    assert crop.shape == (32, 32, 3)


def test_no_face_is_a_reason(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 6)
    result = extract_clip(clip(tmp_path / "a.mp4"), RECIPE, lambda image: [])
    assert result.crops == ()
    assert result.wanted == 4
    assert len(result.misses) == 4
    assert result.reason == "no face found in 4 frames"


def test_the_largest_face_is_cropped_with_the_margin(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", side=200)
    small, large = Face((0, 0, 10, 10), 0.9), Face((50, 60, 90, 100), 0.6)
    recipe = CropRecipe(detector="haar", margin=1.5, size=32)
    result = extract_clip(clip(tmp_path / "a.png"), recipe, lambda image: [small, large])
    assert result.crops[0].box == (40, 50, 100, 110)
    assert result.crops[0].score == 0.6


def test_a_killed_extraction_goes_on_where_it_was(tmp_path: Path) -> None:
    clips = []
    for n in range(4):
        write_image(tmp_path / f"{n}.png", n)
        clips.append(clip(tmp_path / f"{n}.png"))
    shards = extract_clips(clips, RECIPE, tmp_path / "shards", detector=NONE, jobs=1)
    contents = [s.read_bytes() for s in shards]
    stamp = shards[0].stat().st_mtime_ns
    shards[2].unlink()
    again = extract_clips(clips, RECIPE, tmp_path / "shards", detector=NONE, jobs=1)
    assert again == shards
    assert [s.read_bytes() for s in shards] == contents
    assert shards[0].stat().st_mtime_ns == stamp  # not made again
    assert len(list((tmp_path / "shards").iterdir())) == 4  # no temporary file left


def test_an_interrupt_does_not_wait_for_the_rest(tmp_path: Path) -> None:
    clips = []
    for n in range(200):
        write_image(tmp_path / f"{n}.png", n)
        clips.append(clip(tmp_path / f"{n}.png"))

    def interrupt(done: int, total: int, note: str = "") -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract_clips(clips, RECIPE, tmp_path / "shards", detector=NONE, jobs=1, progress=interrupt)
    assert len(list((tmp_path / "shards").iterdir())) < len(clips)


def test_a_crash_costs_one_clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extract, "_start_worker", start_crashing_worker)
    clips = []
    for name in ("a.png", "bad.png", "b.png", "c.png"):
        write_image(tmp_path / name)
        clips.append(clip(tmp_path / name))
    shards = extract_clips(clips, RECIPE, tmp_path / "shards", detector=NONE, jobs=2)
    results = [read_shard(s) for s in shards]
    assert [len(r.crops) for r in results] == [1, 0, 1, 1]
    assert results[1].reason == extract.CRASHED


class DyingPool(ThreadPoolExecutor):
    """Dies of a clip named bad as a pool of processes does: with all that it has not done."""

    opened = 0

    def __init__(self, processes: int, *_: object) -> None:
        super().__init__(processes)
        type(self).opened += 1
        self.dead = False

    def submit(self, function: Any, /, *tasks: Any, **_: Any) -> Future[Any]:
        if self.dead:
            raise BrokenProcessPool
        return super().submit(self.work if tasks else function, *tasks)

    def work(self, task: Task) -> None:
        self.dead = self.dead or "bad" in task.clip.video
        if self.dead:
            raise BrokenProcessPool
        write_shard(task.shard, ClipResult(video=task.clip.video, wanted=1, crops=()))


def test_a_crash_among_many_clips_costs_the_few_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All the clips after a bad one once had a process each, one after the other."""
    monkeypatch.setattr(DyingPool, "opened", 0)
    monkeypatch.setattr(extract, "open_pool", DyingPool)
    names = [f"{n}.png" for n in range(1000)]
    bad = (3, 500, 999)
    for number in bad:
        names[number] = f"bad{number}.png"
    calls: list[int] = []
    shards = extract_clips(
        [clip(tmp_path / name) for name in names],
        RECIPE,
        tmp_path / "shards",
        detector=NONE,
        jobs=2,
        progress=lambda done, total, note="": calls.append(done),
    )
    crashed = [n for n, shard in enumerate(shards) if read_shard(shard).reason == extract.CRASHED]
    assert crashed == list(bad)
    assert calls == list(range(1, 1001))
    # Each bad clip ends a pool; it and the few beside it get one each, and one has no clip.
    assert DyingPool.opened <= 1 + len(bad) * (2 + extract.AHEAD * 2)


def start_and_die(recipe: CropRecipe, detector: DetectorChoice) -> None:
    os._exit(1)


def test_a_detector_that_dies_is_not_the_clips_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "_start_worker", start_and_die)
    write_image(tmp_path / "a.png")
    with pytest.raises(UserError, match="detector none takes its process down while it is loaded"):
        extract_clips(
            [clip(tmp_path / "a.png")], RECIPE, tmp_path / "shards", detector=NONE, jobs=1
        )
    assert list((tmp_path / "shards").iterdir()) == []  # it can be tried again


def test_self_blend_depends_on_the_name_alone(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png", side=96)
    detector = lambda image: [Face((20, 20, 76, 76), 1.0)]  # noqa: E731
    recipe = CropRecipe(detector="haar", size=64, format="png")
    real = extract_clip(clip(tmp_path / "a.png"), recipe, detector)
    fakes = [
        extract_clip(clip(tmp_path / "a.png", self_blend=True), recipe, detector) for _ in range(2)
    ]
    assert fakes[0] == fakes[1]
    assert fakes[0].crops[0].box == real.crops[0].box
    assert fakes[0].crops[0].image != real.crops[0].image
