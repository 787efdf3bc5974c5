"""The benchmarks run; what they measure is for quiet machines."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from support.media import write_image

SPEED = Path(__file__).resolve().parents[1] / "benchmarks" / "speed"


@pytest.mark.slow
def test_training_steps_of_meso4(tmp_path: Path) -> None:
    options = ["meso4", "--sides", "dfbench", "--rounds", "1", "--batch", "8"]
    command = [sys.executable, str(SPEED / "train_step.py"), *options, "--output", str(tmp_path)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    (page,) = tmp_path.iterdir()
    *_, trained, scored = page.read_text().strip().splitlines()
    for row, mode in ((trained, "training step"), (scored, "inference")):
        name, what, batch, rate = (cell.strip() for cell in row.strip("|").split("|"))
        assert (name, what, batch) == ("meso4", mode, "8")
        assert float(rate) > 0


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


def table(page: str) -> list[list[str]]:
    """Return the cells of the rows of all tables in a page, without their headings."""
    rows, heading = [], True
    for line in page.splitlines():
        if not line.startswith("|"):
            heading = True
        elif line.startswith("|---"):
            heading = False
        elif not heading:
            rows.append([cell.strip() for cell in line.strip("|").split("|")])
    return rows
