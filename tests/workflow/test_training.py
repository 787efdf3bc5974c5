from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from workflow.conftest import Trained

from dfbench.config import OptimConfig, read_toml, training_hash
from dfbench.errors import UserError
from dfbench.progress import Reporter
from dfbench.train.history import read_history
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import RECORD, read_record, read_seen
from dfbench.workflow.training import run_name, train


def test_the_run_folder_tells_the_whole_story(trained: Trained) -> None:
    names = {path.name for path in trained.folder.iterdir()}
    assert names == {
        "config.toml",
        "metrics.jsonl",
        "curves.png",
        "checkpoints",
        "trained_on.parquet",
        "training.json",
        "val_scores.parquet",
        "evals",
    }
    assert read_toml(trained.folder / "config.toml") == trained.config
    record = read_record(trained.folder)
    assert record.training_hash == training_hash(trained.config)
    assert record.summary.epochs == 3
    assert record.summary.selected_by == "val video AUC"
    rows = read_history(trained.folder / "metrics.jsonl")
    validated = [row["val_video_auc"] for row in rows if "val_video_auc" in row]
    assert len(validated) == 3
    assert record.summary.best_val_auc == max(validated)


def test_seen_are_train_and_val_but_not_test(trained: Trained) -> None:
    (prepared,) = prepare_spec(trained.config.train, trained.config.data, trained.places)
    seen = set(read_seen(trained.folder)["video"].to_pylist())
    for split in ("train", "val", "test"):
        names = prepared.frames(split)["video"].to_pylist()
        videos = {name.replace("folder/", "folder:mine/", 1) for name in names}
        assert videos
        assert (videos & seen) == (videos if split != "test" else set())


def test_a_finished_training_is_used_again(trained: Trained) -> None:
    said: list[str] = []
    before = (trained.folder / RECORD).stat().st_mtime_ns
    again = train(trained.config, trained.places, reporter=Reporter(say=said.append))
    assert again == trained.folder
    assert (again / RECORD).stat().st_mtime_ns == before
    assert said[-1] == f"reusing the finished training {trained.folder}"


@pytest.mark.parametrize("change", ["seed", "optim", "scoring", "workers"])
def test_the_folder_is_named_by_what_matters_to_training(trained: Trained, change: str) -> None:
    config = trained.config
    other = {
        "seed": dataclasses.replace(config, seed=1),
        "optim": dataclasses.replace(config, optim=OptimConfig(lr=0.5)),
        "scoring": dataclasses.replace(
            config, scoring=dataclasses.replace(config.scoring, resamples=7)
        ),
        "workers": dataclasses.replace(config, data=dataclasses.replace(config.data, workers=1)),
    }[change]
    datasets = prepare_spec(config.train, config.data, trained.places)
    same = run_name(other, datasets) == trained.folder.name
    assert same == (change in ("scoring", "workers"))


def test_an_unfinished_training_is_not_overwritten_unasked(
    trained: Trained, tmp_path: Path
) -> None:
    places = dataclasses.replace(trained.places, runs_dir=tmp_path)
    shutil.copytree(trained.folder, tmp_path / trained.folder.name)
    (tmp_path / trained.folder.name / RECORD).unlink()
    with pytest.raises(UserError, match="--resume goes on with it, --overwrite starts again"):
        train(trained.config, places)


def test_resuming_a_training_killed_before_its_record(trained: Trained, tmp_path: Path) -> None:
    """All epochs are done, the record is not written: the result is the same."""
    places = dataclasses.replace(trained.places, runs_dir=tmp_path)
    shutil.copytree(trained.folder, tmp_path / trained.folder.name)
    (tmp_path / trained.folder.name / RECORD).unlink()
    folder = train(trained.config, places, resume=True)
    one, two = read_record(trained.folder), read_record(folder)
    assert two.summary.steps == one.summary.steps
    assert two.summary.best_val_auc == one.summary.best_val_auc
    assert two.datasets == one.datasets


def test_what_a_training_of_one_epoch_says(trained: Trained, tmp_path: Path) -> None:
    once = dataclasses.replace(trained.config.training, epochs=1)
    places = dataclasses.replace(trained.places, runs_dir=tmp_path)
    said: list[str] = []
    config = dataclasses.replace(trained.config, training=once)
    train(config, places, reporter=Reporter(say=said.append))
    assert any(line.endswith("crops, at most 1 epoch") for line in said), said
    assert said[-1].startswith("trained 1 epoch in ")


def test_evaluating_what_is_no_run(tmp_path: Path, trained: Trained) -> None:
    with pytest.raises(UserError, match=r"no finished training here \(training.json is missing\)"):
        evaluate(tmp_path, "folder:x", trained.places)
