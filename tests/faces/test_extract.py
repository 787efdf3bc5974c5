from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.crash import start_crashing_worker
from support.media import write_image, write_video
from support.odd_media import png

from dfbench.errors import UserError
from dfbench.faces import extract, one_clip, worker
from dfbench.faces.clip import Clip, ClipResult, CropRecipe
from dfbench.faces.detect import DetectorChoice, Face
from dfbench.faces.extract import extract_clips, read_shard
from dfbench.faces.images import RGB, read_image
from dfbench.faces.one_clip import extract_clip
from dfbench.faces.worker import Limits, Worker

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


def extracted(
    folder: Path, names: Sequence[str], limits: Limits, jobs: int = 2
) -> dict[str, ClipResult]:
    """Return what comes of pictures of these names, and assert that progress counts each once."""
    clips = []
    for name in names:
        write_image(folder / name)
        clips.append(clip(folder / name))
    calls: list[int] = []
    shards = extract_clips(
        clips,
        RECIPE,
        folder / "shards",
        detector=NONE,
        jobs=jobs,
        progress=lambda done, total, note="": calls.append(done),
        limits=limits,
    )
    assert calls == list(range(1, len(names) + 1))
    return {name: read_shard(shard) for name, shard in zip(names, shards, strict=True)}


def test_files_that_crash_or_hang_cost_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extract, "_start_worker", start_crashing_worker)
    started: list[int] = []

    class Counted(Worker[Any, Any]):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            started.append(1)

    monkeypatch.setattr(worker, "Worker", Counted)
    bad = {
        "bad.png": f"{extract.CRASHED} (signal 6)",
        "hang.png": "given up: nothing happened for 6 s",
        "endless.png": "given up: not done after 8 s",
    }
    good = ["a.png", "once.png", "b.png", "c.png"]
    names = [name for pair in zip(good, [*bad, "d.png"], strict=True) for name in pair]
    found = extracted(tmp_path, names, Limits(still_s=6, whole_s=8))
    assert {name: result.reason for name, result in found.items() if not result.crops} == bad
    # Two at first; one for each that died, was killed, or is tried again alone.
    assert len(started) <= 2 + len(("bad", "once", "hang", "endless")) + 2


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux limits what a process fills")
def test_memory_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, "1")  # each takes memory, on machines of many cores all of it
    (tmp_path / "vast.png").write_bytes(png(9000, 10000, bytes(27001 * 10000)))  # 90 MP
    write_image(tmp_path / "good.png")
    clips = [clip(tmp_path / name) for name in ("vast.png", "good.png")]
    limits = Limits(memory=2**30)
    shards = extract_clips(clips, RECIPE, tmp_path / "shards", detector=NONE, jobs=1, limits=limits)
    vast, good = map(read_shard, shards)
    assert vast.reason == "it takes more memory than one clip may"
    assert len(good.crops) == 1


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


# --- odd frames and faces -------------------------------------------------------------------------


@pytest.mark.parametrize("box", [(-90, 10, -20, 60), (10, 70, 60, 120), (5, 5, 5, 5), (9, 9, 3, 3)])
def test_a_face_outside_the_frame_is_none(
    tmp_path: Path, box: tuple[float, float, float, float]
) -> None:
    """Detectors pad frames to squares. Such a box once stopped the whole preparation."""
    write_image(tmp_path / "a.png")
    recipe = CropRecipe(detector="haar", margin=0.8, size=32)
    inside = Face((20, 20, 40, 40), 0.5)
    result = extract_clip(clip(tmp_path / "a.png"), recipe, lambda image: [Face(box, 1.0), inside])
    assert [crop.score for crop in result.crops] == [0.5]
    result = extract_clip(clip(tmp_path / "a.png"), recipe, lambda image: [Face(box, 1.0)])
    assert result.reason == "no face found in 1 frame"


def test_a_detector_that_fails_on_a_frame_is_a_reason(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", 4)

    calls: list[float] = []

    def fails(image: RGB) -> list[Face]:
        calls.append(image.mean())
        if len(calls) == 1:
            raise ValueError("no detector for\nthis")
        return [Face((0, 0, 40, 40), 1.0)]

    result = extract_clip(clip(tmp_path / "a.mp4"), RECIPE, fails)
    assert len(result.crops) == 3
    assert result.misses == ((0, "the detector failed: no detector for this"),)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(one_clip, "recipe_box", None)  # a fault of the project is no reason
        with pytest.raises(TypeError):
            extract_clip(clip(tmp_path / "a.mp4"), RECIPE, fails)


@pytest.mark.parametrize(("width", "height"), [(20000, 1), (1, 20000), (1, 1), (3, 2)])
def test_the_thinnest_pictures_have_a_crop(tmp_path: Path, width: int, height: int) -> None:
    (tmp_path / "a.png").write_bytes(png(width, height, bytes((3 * width + 1) * height)))
    result = extract_clip(clip(tmp_path / "a.png"), RECIPE, extract.load_detector(NONE))
    assert len(result.crops) == 1


# --- what is no fault of one file -----------------------------------------------------------------


def test_a_disk_that_fails_is_no_reason_of_a_clip(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A network mount that vanishes once gave all clips that were left a reason, and went on."""

    def lost(path: Path) -> RGB:
        raise OSError(number, os.strerror(number))

    write_image(tmp_path / "raw" / "a.png")
    one = clip(tmp_path / "raw" / "a.png")
    monkeypatch.setattr(one_clip, "read_image", lost)
    for number in (errno.EIO, errno.ESTALE, errno.ENOTCONN):
        with pytest.raises(OSError, match=os.strerror(number)) as caught:
            extract_clip(one, RECIPE, lambda image: [])
        assert caught.value.filename == str(one.path)
    number = errno.EACCES
    result = extract_clip(one, RECIPE, lambda image: [])
    assert result.reason == f"[Errno {number}] {os.strerror(number)}"  # and no folder of anybody
    monkeypatch.setattr(one_clip, "read_image", read_image)
    one.path.unlink()
    assert extract_clip(one, RECIPE, lambda image: []).reason.startswith("[Errno 2] No such file")
    one.path.parent.rmdir()
    with pytest.raises(OSError, match="this folder is gone"):
        extract_clip(one, RECIPE, lambda image: [])
