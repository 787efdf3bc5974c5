"""The benchmarks run; what they measure is for quiet machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.media import write_image

SPEED = Path(__file__).resolve().parents[1] / "benchmarks" / "speed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "modes"),
    [("train_step.py", ["training step", "inference"]), ("inference.py", ["crops to logits"])],
)
def test_speed_of_meso4(tmp_path: Path, script: str, modes: list[str]) -> None:
    options = ["--sides", "dfbench", "--rounds", "1", "--batches", "8", "--roofline"]
    done = run(script, "meso4", "--device", "cpu", *options, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    (page,) = tmp_path.iterdir()
    rows = table(page.read_text())
    assert [row[:3] for row in rows] == [["meso4", mode, "8"] for mode in modes] * 2
    for speed, roofline in zip(rows, rows[len(modes) :], strict=False):
        assert float(speed[3]) > 0
        # GFLOP: 60 million multiply-adds, and thrice to train; shown as 0.12.
        assert float(roofline[3]) >= 2 * 0.06
        assert 0 < float(roofline[8].rstrip(" %")) < 100


@pytest.mark.slow
def test_forms_of_an_operation(tmp_path: Path) -> None:
    options = ["--models", "meso4", "--batch", "2", "--device", "cpu", "--output", tmp_path]
    done = run("lowerings.py", "max_pool", *options)
    assert done.returncode in (0, 1), done.stderr  # 1: the machine was busy
    (page,) = tmp_path.iterdir()
    rows = table(page.read_text())
    assert [row[:2] for row in rows[:2]] == [["max_pool", "lax"], ["max_pool", "shifts"]]
    assert all(float(cell) > 0 for row in rows[:2] for cell in row[2:4])
    assert len(rows) == 2 + 4 * 2  # Meso-4 pools four times


def run(script: str, *options: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(SPEED / script), *map(str, options)]
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)


@pytest.mark.slow
def test_extraction_of_small_clips(tmp_path: Path) -> None:
    sizes = ["--clips", "2", "--frames", "12", "--height", "240", "--rounds", "1"]
    done = run("extract.py", *sizes, "--detector", "haar", "--output", tmp_path)
    assert done.returncode in (0, 1), done.stderr  # 1: a limit is missed, at this size no wonder
    (page,) = tmp_path.iterdir()
    assert "-extract-" in page.name
    rows = table(page.read_text())
    assert [row[0] for row in rows[:2]] == ["decoding alone", "dfbench"]
    assert all(float(row[1]) > 0 for row in rows[:2])
    assert rows[1][3].endswith("of 24")  # 2 clips of 12 frames


@pytest.mark.slow
def test_detectors_on_annotated_boxes(tmp_path: Path) -> None:
    write_image(tmp_path / "a.png")
    write_image(tmp_path / "b.png")
    (tmp_path / "boxes.csv").write_text("image,x0,y0,x1,y1\na.png,0,0,40,40\nb.png,,,,\n")
    (tmp_path / "mine.csv").write_text(
        "image,x0,y0,x1,y1,score\na.png,0,0,40,38,0.9\nb.png,0,0,9,9,0.8\n"
    )
    options = ["--detectors", "haar", "--found", f"mine={tmp_path / 'mine.csv'}"]
    done = run("detectors.py", tmp_path / "boxes.csv", *options)
    assert done.returncode == 0, done.stderr
    haar, mine = table(done.stdout)
    assert haar[:4] == ["haar", "2", "1", "0"]
    assert float(haar[4]) > 0
    assert haar[5:] == ["0.000", "-", "0.000"]
    assert mine == ["mine", "2", "1", "2", "-", "1.000", "0.500", "1.000"]
    wrong = run("detectors.py", tmp_path / "gone.csv")
    assert wrong.returncode == 2
    assert "gone.csv: no such" in wrong.stderr


@pytest.mark.slow
def test_memory_of_small_stages(tmp_path: Path) -> None:
    sizes = ["--crops", "640", "1280", "--rows", "3200", "6400"]
    done = run("memory.py", *sizes, "--workers", "1", "--work", tmp_path, "--output", tmp_path)
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*-memory-*.md")
    rows = table(path.read_text())
    stages = [row for row in rows if len(row) == 7]
    assert [row[0].split(":")[0].split(",")[0] for row in stages] == [
        *["prepare"] * 2,
        *["train", "eval", "score", "verify that card"],
    ]
    assert stages[1][1:3] == ["640 crops, 160 videos", "1,280 crops, 320 videos"]
    assert stages[-1][1:3] == ["3,200 rows, 100 videos", "6,400 rows, 200 videos"]
    assert all(50 < float(cell.replace(",", "")) < 2048 for row in stages for cell in row[3:5])
    assert [row[3] for row in rows if len(row) == 4] == ["yes"] * 6


@pytest.mark.slow
def test_scaling_over_devices_of_a_processor(tmp_path: Path) -> None:
    options = ["meso4", "--cpu-devices", "3", "--batch", "2", "--rounds", "1", "--output", tmp_path]
    wrong = run("scaling.py", *options, "--global-batch", "4")
    assert wrong.returncode == 2
    assert "--global-batch: a multiple of each of [1, 2, 3]" in wrong.stderr
    done = run("scaling.py", *options, "--global-batch", "6", "--loss-batch", "6")
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.glob("*-scaling-*.md")
    *rows, limit = table(path.read_text())
    assert [row[1:4] for row in rows] == [
        *(["weak", str(n), str(2 * n)] for n in (1, 2, 3)),
        *(["strong", str(n), "6"] for n in (1, 2, 3)),
    ]
    assert all(float(row[4].replace(",", "")) > 0 for row in rows)
    assert [row[5] for row in rows if row[2] == "1"] == ["100 %"] * 2
    assert limit[3] == "yes"


def table(page: str) -> list[list[str]]:
    """Return the cells of the rows of all tables in a page, without their headings."""
    rows, heading = [], True
    for line in page.splitlines():
        if not line.startswith("|"):
            heading = True
        elif not set(line) - set("|- "):
            heading = False
        elif not heading:
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows
