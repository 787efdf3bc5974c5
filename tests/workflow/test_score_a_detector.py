"""What docs/score-a-detector.md shows, on a folder of pictures instead of an embedded dataset."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import pytest
from support.page import block
from support.photos import prepare_photos, write_photos
from workflow.test_score import celebdf

from dfbench.cli import main
from dfbench.paths import default_data_dir
from dfbench.results.store import load_cards

PAGE = "score-a-detector.md"
THEIRS = "--set data.size=tiny"
OURS = "--set data.detector=none --set data.crop_size=32"


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A prepared dataset, and the folder to work in."""
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    folder = write_photos(tmp_path / "photos")
    for number in range(6):
        (folder / "fake" / f"broken{number}.mp4").write_bytes(b"")
    prepared = prepare_photos(folder, default_data_dir())
    assert prepared.missed("test")
    return f"folder:{folder}"


def commands(language: str, spec: str) -> list[list[str]]:
    text = block(PAGE, language)
    assert "synth_blend" in text
    assert THEIRS in text
    text = text.replace("synth_blend", shlex.quote(spec)).replace(THEIRS, OURS)
    return [shlex.split(line) for line in text.splitlines()]


def run(spec: str) -> None:
    """Run the commands of the page but for the script."""
    script, *rest = commands("sh", spec)
    assert script == ["python", "score_crops.py", "scores.csv"]
    for program, *arguments in rest:
        assert program == "dfbench"
        assert main(arguments) == 0, arguments
    (stored,) = load_cards([Path("runs")])
    assert stored.path.parts[-4] == "my-network--unknown--s0--scores"
    assert any("no score" in reason for reason in stored.card.coverage["fake"].reasons)


def test_the_commands_on_a_template_that_was_filled_in(spec: str) -> None:
    ((program, *arguments),) = commands("bash", spec)
    assert (program, main(arguments)) == ("dfbench", 0)
    head, *rows = Path("to_score.csv").read_text().splitlines()
    scored = [f"{row}{len(row) % 7 / 7}" for row in rows if not row.endswith(",-1,")]
    Path("scores.csv").write_text("\n".join((head, *scored)))
    run(spec)


def test_the_network_of_the_page(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="PyTorch is not installed: `make parity` does that")
    text = block(PAGE, "python")
    assert '"synth_blend", size="tiny"' in text
    text = text.replace('"synth_blend", size="tiny"', f'{spec!r}, detector="none", crop_size=32')
    monkeypatch.setattr(sys, "argv", ["score_crops.py", "scores.csv"])
    exec(compile(text, "score_crops.py", "exec"), {"__name__": "__main__"})
    run(spec)


def test_the_two_columns_of_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    celebdf(tmp_path / "Celeb-DF-v2")
    Path("scores.csv").write_text(block(PAGE, "csv"))
    program, *arguments = shlex.split(block(PAGE, "console").replace("~", str(tmp_path)))
    assert (program, main(arguments)) == ("dfbench", 2)
    fault, last = capsys.readouterr().err.splitlines()  # the rest of the videos is missing
    assert fault.startswith("  516 of the 518 videos of the test split have no row")
    assert last == "dfbench: scores.csv: 516 problems; nothing was written"
