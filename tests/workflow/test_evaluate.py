from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from support.photos import write_photos
from workflow.conftest import Trained

from dfbench.config import ScoringConfig
from dfbench.errors import UserError
from dfbench.eval.measure import METRIC_NAMES, measure
from dfbench.eval.scores import UNDETECTED, read_scores
from dfbench.progress import Reporter
from dfbench.results.store import hash_file, hash_folder, read_card
from dfbench.workflow.evaluate import evaluate


def test_red_fakes_are_learned_and_transfer(trained: Trained) -> None:
    (within, _), (across, _) = trained.within, trained.across
    assert (within.role, across.role) == ("within", "across")
    assert within.metrics["video_auc"].value == 1.0
    assert across.metrics["video_auc"].value == 1.0
    assert within.training == across.training


def test_the_card_can_be_recomputed_from_its_scores(trained: Trained) -> None:
    for card, path in (trained.within, trained.across):
        assert read_card(path) == card
        table = read_scores(path.parent / "scores.parquet")
        assert hash_file(path.parent / "scores.parquet") == card.files["scores"]
        assert hash_folder(trained.folder / "checkpoints" / "best") == card.files["checkpoint"]
        scoring = ScoringConfig(**card.config["scoring"])
        val = read_scores(path.parent / "val_scores.parquet")
        assert hash_file(path.parent / "val_scores.parquet") == card.files["val_scores"]
        again = measure(table, val, scoring, seed=card.cell.seed)
        assert (again.metrics, again.breakdown) == (card.metrics, card.breakdown)
        assert (again.confusion, again.calibration) == (card.confusion, card.calibration)
        assert tuple(card.metrics) == METRIC_NAMES


def test_frame_auc_is_scikit_learns(trained: Trained) -> None:
    card, path = trained.across
    table = read_scores(path.parent / "scores.parquet")
    scored = table.frame != UNDETECTED
    expected = roc_auc_score(table.label[scored], table.p_fake[scored])
    assert card.metrics["frame_auc"].value == pytest.approx(expected, abs=1e-12)


def test_videos_without_a_crop_are_counted_not_dropped(trained: Trained) -> None:
    card, path = trained.across
    table = read_scores(path.parent / "scores.parquet")
    undetected = table.frame == UNDETECTED
    fakes = card.coverage["fake"]
    assert undetected.sum() == fakes.clips - fakes.clips_with_crops > 0
    assert np.isnan(table.p_fake[undetected]).all()
    assert all("broken" in video for video in table.video[undetected].tolist())
    assert sum(fakes.reasons.values()) == undetected.sum()
    assert len(set(table.video.tolist())) == sum(c.clips for c in card.coverage.values())


def test_scores_are_used_again_until_something_changes(trained: Trained) -> None:
    said: list[str] = []
    reporter = Reporter(say=said.append)
    card, path = trained.within
    spec = card.cell.eval
    before = path.stat().st_mtime_ns
    again, _ = evaluate(trained.folder, spec, trained.places, reporter=reporter)
    assert again == card
    assert any("reusing the scores" in line for line in said)
    assert path.stat().st_mtime_ns == before
    other = dataclasses.replace(trained.config.scoring, resamples=60)
    changed, _ = evaluate(trained.folder, spec, trained.places, scoring=other)
    assert changed.config["scoring"]["resamples"] == 60
    restored, _ = evaluate(trained.folder, spec, trained.places)
    assert restored.metrics == card.metrics


def test_altered_scores_are_made_again(trained: Trained) -> None:
    card, path = trained.within
    scores = path.parent / "scores.parquet"
    whole = scores.read_bytes()
    scores.write_bytes(whole[:-1])
    again, _ = evaluate(trained.folder, card.cell.eval, trained.places)
    assert again.metrics == card.metrics
    assert hash_file(scores) == again.files["scores"]


def test_two_folders_of_one_name_in_a_union(trained: Trained, tmp_path: Path) -> None:
    root = write_photos(tmp_path / "a" / "mine", real=20, fake=20)
    spec = f"folder:{root},{trained.config.train}"
    with pytest.raises(UserError, match="two of its datasets are called 'folder:mine'"):
        evaluate(trained.folder, spec, trained.places)
