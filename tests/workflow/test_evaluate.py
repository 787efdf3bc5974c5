from __future__ import annotations

import dataclasses
import shutil
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


def test_source_val_is_scored_once_and_chooses_for_all(trained: Trained) -> None:
    path = trained.folder / "val_scores.parquet"
    table = read_scores(path)
    assert table.split.used() == ["val"]
    assert table.dataset.used() == ["folder:mine"]
    for card, place in (trained.within, trained.across):
        assert card.files["val_scores"] == hash_file(path)
        assert card.files["val_scores"] == hash_file(place.parent / "val_scores.parquet")
        assert card.calibration == trained.within[0].calibration
        assert card.calibration is not None
        assert card.calibration.threshold == card.confusion["source_val"].threshold
        assert card.metrics["video_accuracy_source_val"].value is not None
    before = path.stat().st_mtime_ns
    evaluate(trained.folder, trained.across[0].cell.eval, trained.places, overwrite=True)
    assert path.stat().st_mtime_ns == before


def test_damaged_scores_of_source_val_are_made_again(trained: Trained) -> None:
    card, place = trained.within
    path = trained.folder / "val_scores.parquet"
    path.write_bytes(b"damaged")
    evaluate(trained.folder, card.cell.eval, trained.places)
    assert hash_file(path) == card.files["val_scores"]
    (place.parent / "val_scores.parquet").write_bytes(b"damaged")
    evaluate(trained.folder, card.cell.eval, trained.places)
    assert hash_file(place.parent / "val_scores.parquet") == card.files["val_scores"]


def test_a_run_without_its_training_data_says_what_is_missing(
    trained: Trained, tmp_path: Path
) -> None:
    card, _ = trained.across
    folder = tmp_path / "run"
    shutil.copytree(trained.folder, folder, ignore=shutil.ignore_patterns("val_scores*", "evals"))
    config = (folder / "config.toml").read_text()
    assert trained.config.train in config
    (folder / "config.toml").write_text(config.replace(trained.config.train, "folder:/nowhere"))
    said: list[str] = []
    reporter = Reporter(say=said.append)
    found, path = evaluate(folder, card.cell.eval, trained.places, reporter=reporter)
    assert any(line.startswith("no threshold and no temperature without") for line in said)
    assert found.calibration is None
    assert "val_scores" not in found.files
    assert not (path.parent / "val_scores.parquet").exists()
    metric = found.metrics["video_f1_source_val"]
    assert (metric.value, metric.reason) == (None, "no scores of a source val split")
    assert found.metrics["video_auc"] == card.metrics["video_auc"]
    again, _ = evaluate(folder, card.cell.eval, trained.places)
    assert again == found


def test_fakes_are_compared_by_manipulation(trained: Trained) -> None:
    card, path = trained.across
    table = read_scores(path.parent / "scores.parquet")
    kinds = set(table.manipulation[table.label == 1].used())
    assert set(card.breakdown) == {f"manipulation/{kind}" for kind in kinds}
    for part in card.breakdown.values():
        assert part["video_auc"].value == card.metrics["video_auc"].value  # there is one kind


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


def test_who_scores_again_by_hand_keeps_the_protocol(trained: Trained, tmp_path: Path) -> None:
    run = shutil.copytree(trained.folder, tmp_path / trained.folder.name)
    spec = trained.across[0].cell.eval
    named, path = evaluate(run, spec, trained.places, protocol="mine-1")
    assert named.protocol == "mine-1"
    before = path.stat().st_mtime_ns
    assert evaluate(run, spec, trained.places)[0] == named
    assert path.stat().st_mtime_ns == before
    assert evaluate(run, spec, trained.places, overwrite=True)[0].protocol == "mine-1"
    other = dataclasses.replace(trained.config.scoring, resamples=60)
    assert evaluate(run, spec, trained.places, scoring=other)[0].protocol is None
