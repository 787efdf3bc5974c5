"""A person's own files through the command line: good ones, broken ones, none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.command import dfbench
from support.media import write_image, write_video

from dfbench.synth.dataset import list_jobs, render_clips


@pytest.fixture(scope="module")
def good_clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clip")
    job = list_jobs("synth_swap", "tiny")[0]
    render_clips([job], root)
    return root / job.file


def test_one_good_clip_and_four_named_reasons(good_clip: Path, tmp_path: Path) -> None:
    real, fake = tmp_path / "mine" / "real", tmp_path / "mine" / "fake"
    real.mkdir(parents=True)
    fake.mkdir()
    shutil.copy(good_clip, real / "good.mp4")
    write_video(real / "faceless.mp4", 12)
    (fake / "empty.mp4").write_bytes(b"")
    (fake / "text.mp4").write_text("not a video\n" * 100)
    write_image(fake / "whole.jpg", side=256)
    data = (fake / "whole.jpg").read_bytes()
    (fake / "cut.jpg").write_bytes(data[: len(data) // 2])
    (fake / "whole.jpg").unlink()
    arguments = ("prepare", f"folder:{tmp_path / 'mine'}", "--set", "data.detector=haar")
    done = dfbench(*arguments, cwd=tmp_path, cache=tmp_path / "cache")
    assert done.returncode == 0, done.stderr
    reasons = dict(
        line.removeprefix("  no crop: ").split(": ", 1)
        for line in done.stdout.splitlines()
        if line.startswith("  no crop: ")
    )
    assert {video.rsplit("/", 1)[1] for video in reasons} == {
        "faceless.mp4",
        "empty.mp4",
        "text.mp4",
        "cut.jpg",
    }
    assert all(reasons.values())
    assert "empty" in next(r for v, r in reasons.items() if v.endswith("empty.mp4"))
    assert "no face" in next(r for v, r in reasons.items() if v.endswith("faceless.mp4"))
    assert sum("1 of" in line and "clips" in line for line in done.stdout.splitlines()) == 1


def test_a_folder_without_a_class_is_one_line_and_status_2(tmp_path: Path) -> None:
    write_image(tmp_path / "mine" / "real" / "a.png")
    for spec in (f"folder:{tmp_path / 'mine'}", f"sbi:{tmp_path / 'nowhere'}"):
        done = dfbench("run", "--train", spec, cwd=tmp_path, cache=tmp_path / "cache")
        assert done.returncode == 2
        assert done.stdout == ""
        assert done.stderr.count("\n") == 1, done.stderr


def test_without_a_network_haar_takes_over_and_the_record_says_so(
    good_clip: Path, tmp_path: Path
) -> None:
    """The address of the model file does not resolve here, or must not be asked."""
    for kind in ("real", "fake"):
        (tmp_path / "mine" / kind).mkdir(parents=True)
        shutil.copy(good_clip, tmp_path / "mine" / kind / f"{kind}.mp4")
    done = dfbench(
        "prepare",
        f"folder:{tmp_path / 'mine'}",
        cwd=tmp_path,
        cache=tmp_path / "cache",
        timeout=90,
        https_proxy="http://127.0.0.1:9",  # nothing listens there
        HTTPS_PROXY="http://127.0.0.1:9",
    )
    assert done.returncode == 0, done.stderr
    assert "warning: " in done.stderr
    assert "haar" in done.stderr.lower()
    (manifest,) = (tmp_path / "cache").rglob("dfbench.json")
    content = json.loads(manifest.read_text())
    assert content["recipe"]["detector"] == "haar"
    assert content["detector_note"]


@pytest.mark.slow
def test_real_photographs(shared_dir: Path, tmp_path: Path) -> None:
    color, gray = (shared_dir / "data" / f"portraits_{kind}" for kind in ("color", "gray"))
    done = dfbench(
        *("run", "--train", f"sbi:{color}", "--eval", f"sbi:{gray}", "--model", "meso4"),
        *("--set", "training.epochs=3"),
        cwd=tmp_path,
        cache=tmp_path / "cache",
        DFBENCH_DETECTOR_MODEL=str(shared_dir / "models"),
    )
    assert done.returncode == 0, done.stderr
    cards = [json.loads(p.read_text()) for p in tmp_path.glob("runs/*/evals/*/*.card.json")]
    assert len(cards) == 2
    for card in cards:
        auc = card["metrics"]["video_auc"]
        assert auc["low"] <= auc["value"] <= auc["high"]
        assert auc["n"] >= 30
        for coverage in card["coverage"].values():
            assert coverage["clips_with_crops"] >= 0.95 * coverage["clips"]
        assert card["datasets"]["eval"][0]["recipe"]["detector"] == "mediapipe_full"
    assert np.isfinite(cv2.imread(next(iter(tmp_path.glob("runs/*/curves.png")))).mean())
