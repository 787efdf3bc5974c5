from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.cards import make_card

from dfbench import cli
from dfbench.errors import UserError
from dfbench.eval.scores import write_scores
from dfbench.eval.table import score_table
from dfbench.progress import Reporter
from dfbench.results.card import card_name
from dfbench.results.store import SCORES, hash_file, write_card
from dfbench.workflow.pages import leaderboard, read_merged


def write_cell(root: Path, model: str, evaluated: str, shift: float, **changes: Any) -> None:
    """Write a card and the scores it was made from."""
    label = np.arange(60) % 2
    noise = np.random.default_rng(len(model)).normal(size=60)
    hard = np.random.default_rng(0).normal(size=60)
    table = score_table(
        dataset=[evaluated] * 60,
        split=["test"] * 60,
        manipulation=["m"] * 60,
        video=[f"v{k}" for k in range(60)],
        frame=np.zeros(60),
        label=label,
        logit=shift * label + hard + 0.3 * noise,
    )
    folder = root / model / evaluated
    write_scores(table, folder / SCORES)
    card = make_card(0.5 + shift / 10, model=model, train="t", eval=evaluated, n=60, **changes)
    card = dataclasses.replace(card, files={"scores": hash_file(folder / SCORES)})
    write_card(card, folder / card_name(card.cell))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for model, shift in (("weak", 0.3), ("strong", 3.0)):
        for evaluated in ("a", "b"):
            write_cell(root, model, evaluated, shift)
    return root


def test_pages_rank_by_the_scores_beside_the_cards(runs: Path, tmp_path: Path) -> None:
    page, html, *_ = leaderboard([runs], tmp_path / "out")
    assert "| 1 [1, 1] | strong |" in page.read_text()
    assert "| 2 [2, 2] | weak |" in page.read_text()
    assert "Ranking across datasets" in html.read_text()
    assert "DeepfakeBench" in html.read_text()


def test_without_scores_the_pages_say_so(runs: Path, tmp_path: Path) -> None:
    for path in runs.rglob(SCORES):
        path.unlink()
    page, html, *_ = leaderboard([runs], tmp_path / "out")
    for text in (page.read_text(), html.read_text()):
        assert "4 result cards have no score file beside them" in text.replace("\\", "")
    assert "| 1 | strong |" in page.read_text()


def test_equal_bytes_wherever_the_cards_lie_and_in_whatever_order(
    runs: Path, tmp_path: Path
) -> None:
    one = {p.name: p.read_bytes() for p in leaderboard([runs], tmp_path / "out")}
    moved = tmp_path / "elsewhere" / "deep"
    shutil.copytree(runs, moved / "runs")
    dirs = [moved / "runs" / "weak", moved / "runs" / "strong"]
    two = {p.name: p.read_bytes() for p in leaderboard(dirs, moved / "out")}
    assert one == two
    for data in one.values():
        assert str(tmp_path).encode() not in data


def test_folders_without_cards_are_said(runs: Path, tmp_path: Path) -> None:
    said: list[str] = []
    empty = tmp_path / "empty"
    empty.mkdir()
    leaderboard([empty, runs], tmp_path / "out", Reporter(say=said.append))
    assert any(f"{empty}: no result card" in line for line in said)
    assert "leaderboard of 4 result cards" in said
    leaderboard([empty], tmp_path / "none")
    assert "No results yet" in (tmp_path / "none" / "index.html").read_text()
    assert read_merged([empty]).cards == ()


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        leaderboard([tmp_path / "nowhere"], tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_wrong_folder_does_not_empty_a_leaderboard(runs: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    leaderboard([runs], out)
    before = {path.name: path.read_bytes() for path in out.iterdir()}
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="shows results, and there is no result card below"):
        leaderboard([tmp_path / "empty"], out)
    assert {path.name: path.read_bytes() for path in out.iterdir()} == before
    leaderboard([tmp_path / "empty"], tmp_path / "new")
    leaderboard([tmp_path / "empty"], tmp_path / "new")  # there was nothing to lose


def command(*arguments: str | Path) -> int:
    return cli.main(["leaderboard", *map(str, arguments)])


def test_machines_go_together_by_either_spelling(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(runs / "weak", tmp_path / "other" / "weak")
    pages = {}
    spellings = {
        "a": [runs, tmp_path / "other"],
        "b": ["--from", runs, tmp_path / "other"],
        "c": [tmp_path / "other", "--from", runs, "--from", runs],
    }
    for name, dirs in spellings.items():
        assert command(*dirs, "--out", tmp_path / name) == 0
        assert "leaderboard of 4 result cards; 2 copies of them counted once" in (
            capsys.readouterr().err
        )
        pages[name] = [p.read_bytes() for p in sorted((tmp_path / name).iterdir())]
    assert pages["a"][1] == pages["b"][1] == pages["c"][1]  # index.html
    monkeypatch.chdir(tmp_path)
    assert command() == 0  # runs, as ever
    assert "leaderboard of 4 result cards\n" in capsys.readouterr().err
    assert (runs / "leaderboard" / "index.html").is_file()


def test_contradictions_are_named_marked_and_a_status(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_cell(tmp_path / "other", "weak", "b", 0.9, created="2027-01-01T00:00:00Z")
    out = tmp_path / "out"
    assert command("--from", runs, tmp_path / "other", "--out", out) == 3
    printed = capsys.readouterr()
    (line,) = [s for s in printed.err.splitlines() if s.startswith("contradiction")]
    for text in ("weak trained on t", "on b: video AUC 0.5900", "0.5300", str(tmp_path / "other")):
        assert text in line
    assert "0.590" in printed.out
    page = (out / "README.md").read_text()
    assert page.count("another result of this cell") == 1
    assert str(tmp_path) not in page
    assert (out / "leaderboard.csv").read_text().count("\nweak,") == 2
    # Kept by --collect, so that whoever shows the folder is told too.
    results = tmp_path / "results"
    assert command(runs, tmp_path / "other", "--collect", results, "--out", out) == 3
    assert "5 result cards copied into" in capsys.readouterr().err
    assert command(results, "--out", out) == 3


def test_partial_cards_do_not_hold_up_the_others(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (runs / "weak" / "a" / SCORES).unlink()
    results = tmp_path / "results"
    assert command(runs, "--collect", results, "--out", tmp_path / "out", "--json") == 3
    printed = capsys.readouterr()
    assert "3 result cards copied into" in printed.err
    assert f"not copied: {runs / 'weak' / 'a'}" in printed.err
    assert "scores.parquet not beside it" in printed.err
    assert len(json.loads(printed.out)) == 5
    shutil.rmtree(runs / "weak" / "b")
    shutil.rmtree(runs / "strong")
    assert command(runs, "--collect", tmp_path / "none", "--out", tmp_path / "out") == 2
    assert "is not beside it" in capsys.readouterr().err
