from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from support.cards import make_card

from dfbench.errors import UserError
from dfbench.results.card import FileHash, ResultCard
from dfbench.results.store import SCORES, hash_file, read_card, write_card
from dfbench.workflow.collect import collect


def run_of(folder: Path, card: ResultCard, scores: bytes = b"scores") -> Path:
    """Write a card and a score file as a run does."""
    place = folder / "evals" / card.cell.eval
    place.mkdir(parents=True)
    (place / SCORES).write_bytes(scores)
    files = {"scores": hash_file(place / SCORES), "checkpoint": FileHash(sha256="0", bytes=1)}
    write_card(dataclasses.replace(card, files=files), place / "a.card.json")
    return place


def test_cards_come_with_their_scores_and_without_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "runs/a/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/a/checkpoints/weights").write_bytes(b"large")
    run_of(tmp_path / "runs/a", make_card(0.7))
    run_of(tmp_path / "runs/b", make_card(0.6, model="xception", eval="celebdf"))
    results = tmp_path / "results"
    assert collect([tmp_path / "runs"], results) == 2
    names = sorted(p.name for p in results.rglob("*") if p.is_file())
    assert names == [
        "meso4--synth_swap--synth_blend--s0.card.json",
        SCORES,
        SCORES,
        "xception--synth_swap--celebdf--s0.card.json",
    ]
    assert collect([tmp_path / "runs"], results) == 0  # the same ones again


def test_the_newest_card_of_a_cell_stays(tmp_path: Path) -> None:
    results = tmp_path / "results"
    run_of(tmp_path / "second", make_card(0.8, created="2026-11-22T08:00:00Z"), b"other")
    assert collect([tmp_path / "second"], results) == 1
    run_of(tmp_path / "first", make_card(0.7))
    assert collect([tmp_path / "first"], results) == 0
    (found,) = results.rglob("*.card.json")
    assert read_card(found).metrics["video_auc"].value == 0.8
    run_of(tmp_path / "third", make_card(0.9, created="2026-11-23T08:00:00Z"), b"third")
    assert collect([tmp_path / "third"], results) == 1
    (found,) = results.rglob("*.card.json")
    assert read_card(found).metrics["video_auc"].value == 0.9
    assert found.with_name(SCORES).read_bytes() == b"third"


def test_a_card_without_its_scores_is_refused(tmp_path: Path) -> None:
    place = run_of(tmp_path / "runs", make_card(0.7))
    (place / SCORES).unlink()
    with pytest.raises(UserError, match=r"scores\.parquet is not beside it"):
        collect([tmp_path / "runs"], tmp_path / "results")
    assert not list((tmp_path / "results").rglob("*.json"))
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(UserError, match="no such folder"):
        collect([tmp_path / "runs"], tmp_path / "results")
