from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from support.cards import make_card

from dfbench.errors import UserError
from dfbench.eval.scores import write_scores
from dfbench.eval.table import score_table
from dfbench.progress import Reporter
from dfbench.results.card import card_name
from dfbench.results.store import SCORES, hash_file, write_card
from dfbench.workflow.pages import leaderboard, load


def write_cell(root: Path, model: str, evaluated: str, shift: float) -> None:
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
    card = make_card(0.5 + shift / 10, model=model, train="t", eval=evaluated, n=60)
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
    assert load([empty]) == []


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
