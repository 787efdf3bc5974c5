from __future__ import annotations

import json
import re
from pathlib import Path

from support.photos import AS_THEY_ARE, prepare_photos, write_photos

from dfbench.cli import main
from dfbench.data.prepared import Prepared
from dfbench.data.summary import summarise, write_summary


def test_numbers_are_those_of_the_data(photos: Prepared) -> None:
    summary = summarise(photos)
    assert sum(row.clips for row in summary.rows) == 50
    for row in summary.rows:
        assert row.clips == row.clips_with_crops == row.frames == row.frames_wanted
        assert row.mean_side == 32
        assert (row.clip_reasons, row.frame_reasons) == ({}, {})
    assert summary.warnings == ()


def test_misses_and_a_gap_between_the_classes_are_told(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine", real=40, fake=40)
    for number in range(20):
        (root / f"fake/fake{number:03}.png").write_bytes(b"no picture")
    prepared = prepare_photos(root, tmp_path / "data")
    summary = summarise(prepared)
    reasons = [row.clip_reasons for row in summary.rows if row.label == "fake"]
    assert sum(n for found in reasons for n in found.values()) == 20
    assert all(set(found) <= {"not an image that can be decoded"} for found in reasons)
    assert summary.warnings
    assert all("of the frames of real clips gave a face crop" in line for line in summary.warnings)
    page = write_summary(prepared)
    text = page.read_text()
    assert "favours a class" in text
    assert "not an image that can be decoded" in text
    assert json.loads(page.with_suffix(".json").read_text())["warnings"] == list(summary.warnings)


def test_the_page_shows_crops_of_each_kind_and_escapes(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "<b>mine", real=30, fake=30)
    text = write_summary(prepare_photos(root, tmp_path / "data")).read_text()
    assert "<b>mine" not in text
    shown = re.findall(r"<img src='data:image/jpeg;base64,[\w+/=]+' alt='([^']+)'", text)
    assert 20 <= len(shown) <= 60
    assert {name.split("/")[1] for name in shown} == {"real", "fake"}


def test_the_command_writes_the_page(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine", real=8, fake=8)
    settings = [f"data.{name}={getattr(AS_THEY_ARE, name)}" for name in ("detector", "crop_size")]
    command = ["prepare", f"folder:{root}", "--data-dir", str(tmp_path / "data"), "--jobs", "1"]
    for setting in settings:
        command += ["--set", setting]
    assert main(command) == 0
    (page,) = (tmp_path / "data").rglob("report.html")
    (numbers,) = (tmp_path / "data").rglob("report.json")
    written = page.stat().st_mtime_ns, numbers.stat().st_mtime_ns
    assert main(command) == 0
    assert (page.stat().st_mtime_ns, numbers.stat().st_mtime_ns) == written
