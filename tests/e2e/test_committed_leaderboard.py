"""The leaderboard in the repository is what its cards say, and its cards what their scores say."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dfbench.cli import main

COMMITTED = Path(__file__).resolve().parents[2] / "leaderboard"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return a copy of the committed results."""
    return shutil.copytree(COMMITTED / "results", tmp_path / "leaderboard/results")


def test_pages_are_those_of_the_cards(copy: Path) -> None:
    assert main(["leaderboard", str(copy), "--out", str(copy.parent)]) == 0
    names = {"README.md", "index.html", "leaderboard.csv", "published.csv", "matrix.png"}
    for name in names:
        same = (copy.parent / name).read_bytes() == (COMMITTED / name).read_bytes()
        assert same, (
            f"leaderboard/{name} is not what its cards give; if that is meant, write it again: "
            "dfbench leaderboard leaderboard/results --out leaderboard"
        )


def test_cards_are_verified(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", str(COMMITTED / "results")]) == 0, capsys.readouterr().out


def test_a_changed_digit_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = sorted(copy.rglob("*.card.json"))[0]
    values = json.loads(card.read_text())
    value = values["metrics"]["video_auc"]["value"]
    values["metrics"]["video_auc"]["value"] = value + (1e-4 if value < 0.5 else -1e-4)
    card.write_text(json.dumps(values))
    assert main(["verify", str(card.parent)]) == 2
    assert "metrics.video_auc.value" in capsys.readouterr().out


def test_a_changed_score_is_named(copy: Path, capsys: pytest.CaptureFixture[str]) -> None:
    scores = sorted(copy.rglob("scores.parquet"))[0]
    table = pq.read_table(scores)
    for name, zero in (("p_fake", 1.0), ("logit", 0.0)):  # the other way round for one frame
        values = table[name].to_numpy().copy()
        values[0] = zero - values[0]
        place = table.column_names.index(name)
        table = table.set_column(place, name, pa.array(values))
    pq.write_table(table, scores)
    assert main(["verify", str(scores.parent)]) == 2
    printed = capsys.readouterr().out
    assert "files.scores" in printed
    assert "metrics." in printed
