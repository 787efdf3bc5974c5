"""Classical models through the same commands as networks, on faces with a planted difference."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.landmarks import render_face, train_predictor
from support.onnx import write_embedder
from support.photos import write_photos

from dfbench import cli
from dfbench.classical.files import EMBEDDING, LANDMARKS
from dfbench.config import (
    AugmentConfig,
    ClassicalConfig,
    DataConfig,
    ModelConfig,
    RunConfig,
    ScoringConfig,
)
from dfbench.errors import UserError
from dfbench.eval.scores import read_scores
from dfbench.progress import Reporter
from dfbench.results.store import hash_folder, read_card
from dfbench.workflow.classical import SEARCH, TABLE, selected_by
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.places import Places
from dfbench.workflow.record import read_record, read_seen
from dfbench.workflow.training import train
from dfbench.workflow.verify import check

pytest.importorskip("dlib", reason="needs dfbench[classical]: dlib")
pytest.importorskip("skops", reason="needs dfbench[classical]: skops")


def _write_faces(root: Path, numbers: range) -> Path:
    """Write faces; those of fakes have a patch of another grey over the mouth."""
    for number in numbers:
        image, points = render_face(number, pictures=8)
        fake = number % 2 == 1
        if fake:
            x, y = points[48:60].mean(axis=0)
            image = cv2.circle(image.copy(), (round(x), round(y)), 14, (190, 150, 150), -1)
        folder = root / ("fake" if fake else "real")
        folder.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(folder / f"{number:04d}.png"), image[..., ::-1])
    return root


@dataclasses.dataclass(frozen=True)
class World:
    """Two datasets of faces, and model files."""

    mine: str
    yours: str
    places: Places
    landmarks: Path
    embedding: Path

    def config(self, name: str, /, **changes: object) -> RunConfig:
        base = RunConfig(
            train=self.mine,
            model=ModelConfig(name=name),
            data=DataConfig(detector="none", crop_size=160),
            augment=AugmentConfig(blur=0.5, noise=0.5),
            scoring=ScoringConfig(resamples=20),
            classical=ClassicalConfig(grid="coarse", folds=3, words=24),
        )
        return dataclasses.replace(base, **changes)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("classical")
    return World(
        mine=f"folder:{_write_faces(root / 'mine', range(200, 280))}",
        yours=f"folder:{_write_faces(root / 'yours', range(400, 500))}",
        places=Places(data_dir=root / "data", runs_dir=root / "runs", jobs=1),
        landmarks=train_predictor(root / "rendered.dat", range(40)),
        embedding=write_embedder(root / "embedder.onnx"),
    )


@pytest.fixture(autouse=True)
def _model_files(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(LANDMARKS.variable, str(world.landmarks))
    monkeypatch.setenv(EMBEDDING.variable, str(world.embedding))


@pytest.fixture(scope="module")
def folder(world: World) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(LANDMARKS.variable, str(world.landmarks))
        return train(world.config("landmarks_svm_rbf"), world.places)


def test_a_planted_difference_is_found_and_transfers(world: World, folder: Path) -> None:
    for spec in (world.mine, world.yours):
        card, path = evaluate(folder, spec, world.places)
        assert card.metrics["video_auc"].value is not None
        assert card.metrics["video_auc"].value > 0.85
        assert card == read_card(path)
        verdict = check(path)
        assert verdict.good, (verdict.error, verdict.differences)
        assert verdict.numbers > 0


def test_the_card_says_how_it_came_about(world: World, folder: Path) -> None:
    card, _ = evaluate(folder, world.mine, world.places)
    training = card.training
    assert training is not None
    assert training.selected_by == "mean AUC of 3 folds of the training videos"
    assert (training.epochs, training.best_epoch, training.stopped_early) == (0, 0, False)
    assert training.steps == 18 * 3 + 1  # 3 of C, 3 of gamma, with and without PCA
    assert training.best_val_auc is not None
    assert card.calibration is not None
    assert card.calibration.threshold is not None
    assert card.config["classical"] == {"folds": 3, "grid": "coarse", "words": 24}
    assert card.files["checkpoint"] == hash_folder(folder / "checkpoints" / "best")
    assert card.warnings == ()


def test_every_crop_of_the_test_split_has_a_finite_score(world: World, folder: Path) -> None:
    _, path = evaluate(folder, world.yours, world.places)
    table = read_scores(path.parent / "scores.parquet")
    assert np.isfinite(table.logit).all()
    assert len(np.unique(table.logit)) == len(table)


def test_the_table_of_the_search_lies_in_the_run(folder: Path) -> None:
    lines = (folder / TABLE).read_text().splitlines()
    rows = [line for line in lines if line.startswith("| svm_rbf")]
    assert [row.split("|")[2].strip() for row in rows] == ["no", "0.95"]
    assert len(json.loads((folder / SEARCH).read_text())) == 18


def test_the_same_seed_gives_the_same_scores(world: World, folder: Path, tmp_path: Path) -> None:
    places = dataclasses.replace(world.places, runs_dir=tmp_path)
    again = train(world.config("landmarks_svm_rbf"), places)
    assert again.name == folder.name
    one, two = (evaluate(f, world.mine, world.places)[1].parent for f in (folder, again))
    np.testing.assert_array_equal(
        read_scores(one / "scores.parquet").logit, read_scores(two / "scores.parquet").logit
    )
    assert (folder / SEARCH).read_bytes() == (again / SEARCH).read_bytes()


def test_a_finished_training_and_its_features_are_used_again(world: World, folder: Path) -> None:
    said: list[str] = []
    reporter = Reporter(say=said.append)
    assert train(world.config("landmarks_svm_rbf"), world.places, reporter=reporter) == folder
    assert said[-1] == f"reusing the finished training {folder}"
    said.clear()
    other = train(world.config("landmarks_logistic"), world.places, reporter=reporter)
    assert any(line.startswith("reusing landmarks of folder:mine, train") for line in said)
    assert other != folder


def test_test_clips_are_not_trained_on(world: World, folder: Path) -> None:
    seen = set(read_seen(folder)["video"].to_pylist())
    _, path = evaluate(folder, world.mine, world.places)
    table = read_scores(path.parent / "scores.parquet")
    tested = {name.replace("folder/", "folder:mine/", 1) for name in table.video.tolist()}
    assert tested
    assert not tested & seen


@pytest.mark.parametrize("model", ["landmarks_embedding_mlp", "sift_svm_rbf", "sift_forest"])
def test_the_other_features_and_classifiers(world: World, model: str) -> None:
    config = world.config(model)
    if model == "sift_svm_rbf":
        config = dataclasses.replace(config, augment=AugmentConfig())
    run = train(config, world.places)
    card, path = evaluate(run, world.yours, world.places)
    assert card.metrics["video_auc"].value is not None
    assert card.metrics["video_auc"].value > 0.6
    assert check(path).good


def test_the_baseline_that_calls_all_fake(world: World) -> None:
    """It is right as often as there are fakes, and ranks nothing."""
    run = train(world.config("always_fake"), world.places)
    card, path = evaluate(run, world.yours, world.places)
    table = read_scores(path.parent / "scores.parquet")
    labels = dict(zip(table.video, table.label, strict=True))
    assert card.metrics["video_auc"].value == 0.5
    share = np.mean(list(labels.values()))
    assert card.metrics["video_accuracy"].value == pytest.approx(share)
    fixed = card.confusion["fixed"]
    assert fixed.fake_as_real == fixed.real_as_real == 0
    assert check(path).good


def test_folds_by_crop_are_another_training(world: World, folder: Path) -> None:
    config = world.config("landmarks_svm_rbf")
    settings = dataclasses.replace(config.classical, folds_by="crop")
    config = dataclasses.replace(config, classical=settings)
    other = train(config, world.places)
    assert other != folder
    assert read_record(other).summary.selected_by == selected_by(config)
    assert selected_by(config) == "mean AUC of 3 folds of the training crops"


def test_another_landmark_model_is_another_training(
    world: World, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = train_predictor(tmp_path / "other.dat", range(20))
    monkeypatch.setenv(LANDMARKS.variable, str(other))
    places = dataclasses.replace(world.places, runs_dir=tmp_path / "runs")
    assert train(world.config("landmarks_svm_rbf"), places).name != folder.name
    shutil.rmtree(folder / "evals", ignore_errors=True)
    with pytest.raises(UserError, match="not the file of dlib's model of 68 face landmarks that"):
        evaluate(folder, world.yours, world.places)


def test_pictures_without_faces_say_so(world: World, tmp_path: Path) -> None:
    photos = write_photos(tmp_path / "noise", real=40, fake=40)
    config = dataclasses.replace(world.config("landmarks_svm_rbf"), train=f"folder:{photos}")
    with pytest.raises(UserError, match=r"none of \d+ training crops shows a face \(dlib's"):
        train(config, world.places)


def test_scored_crops_without_faces_are_a_warning_in_the_card(
    world: World, folder: Path, tmp_path: Path
) -> None:
    photos = write_photos(tmp_path / "noise", real=40, fake=40)
    card, path = evaluate(folder, f"folder:{photos}", world.places)
    (warning,) = card.warnings
    assert warning.endswith("crops are without a face that dlib sees")
    assert check(path).good


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": ModelConfig(name="sift_forest", init="imagenet")}, r"--init\) is for networks"),
        ({"model": ModelConfig(name="sift_forest", input="srm")}, "model.input is for networks"),
    ],
)
def test_what_only_networks_have(world: World, changes: dict[str, object], message: str) -> None:
    with pytest.raises(UserError, match=message):
        train(world.config("sift_forest", **changes), world.places)


def test_too_large_a_vocabulary(world: World) -> None:
    settings = ClassicalConfig(grid="coarse", folds=3, words=100_000)
    with pytest.raises(UserError, match=r"fewer words: --set classical\.words=N"):
        train(world.config("sift_forest", classical=settings), world.places)


def test_by_the_command_line(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["run", "--train", world.mine, "--eval", world.yours, "--model", "landmarks_best"]
    arguments += ["--data-dir", str(world.places.data_dir), "--runs-dir", str(tmp_path / "runs")]
    arguments += ["--jobs", "1", "--oracle"]
    for setting in (
        "data.detector=none",
        "data.crop_size=160",
        "classical.grid=coarse",
        "classical.folds=3",
        "scoring.resamples=20",
    ):
        arguments += ["--set", setting]
    assert cli.main(arguments) == 0
    out = capsys.readouterr()
    assert "landmarks_best" in out.out
    assert "mlp         0.95" in out.err
    cards = [read_card(path) for path in (tmp_path / "runs").glob("*/evals/*/*.card.json")]
    assert {card.cell.eval for card in cards} == {world.mine, world.yours}
    assert all(card.oracle is None for card in cards)
