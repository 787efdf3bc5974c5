from __future__ import annotations

import csv
import dataclasses
import json
import shlex
import shutil
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.crash import start_crashing_drawing, start_crashing_worker
from support.hostile import write_corpus
from support.media import write_image
from support.raw import Pool, write_frames

from dfbench import cli
from dfbench.config import (
    DataConfig,
    ModelConfig,
    RunConfig,
    ScoringConfig,
    TrainingConfig,
    from_dict,
    parse_assignment,
    to_dict,
    training_hash,
)
from dfbench.errors import UserError
from dfbench.eval.scores import read_scores, sigmoid
from dfbench.faces import extract
from dfbench.faces.clip import CropRecipe
from dfbench.progress import Reporter
from dfbench.results.prediction import FilePrediction, Predictions
from dfbench.results.store import read_card, write_card
from dfbench.selection import selection
from dfbench.workflow import predict_drawing
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.places import Places
from dfbench.workflow.predict import predict
from dfbench.workflow.predict_model import TrainedDetector, find_detector, training_command
from dfbench.workflow.training import train

FRAMES = 3
ODD = '=1+1 "x" <b>é\x1b[31m\n.png'


@dataclass(frozen=True)
class Run:
    """Untrained weights with a run's folder, and their evaluation on a few rendered clips."""

    folder: Path
    places: Places
    clips: Path
    scores: Path
    card: Path

    @property
    def detector(self) -> TrainedDetector:
        return find_detector(self.folder, self.places.runs_dir)


def _config(clips: Path, **changes: Any) -> RunConfig:
    return RunConfig(
        train=f"folder:{clips}",
        model=ModelConfig(input_size=32, dropout=0.0),
        data=DataConfig(detector="haar", frames=FRAMES, crop_size=48, margin=1.5),
        training=TrainingConfig(epochs=0, batch_size=8),
        scoring=ScoringConfig(batch_size=16, resamples=20),
        **changes,
    )


@pytest.fixture(scope="module")
def run(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Run:
    root = tmp_path_factory.mktemp("predict")
    clips = root / "mine"
    for split, numbers in {"train": (0, 1), "val": (2, 3), "test": (4, 5)}.items():
        for number in numbers:
            pool.place(clips / split / "real" / f"{number}.mp4", number)
            pool.place(clips / split / "fake" / f"{number}.mp4", number, fake=True)
    places = Places(data_dir=root / "data", runs_dir=root / "runs", jobs=1)
    folder = train(_config(clips), places)
    _, card = evaluate(folder, f"folder:{clips}", places)
    return Run(folder, places, clips, card.with_name("scores.parquet"), card)


@pytest.fixture(scope="module")
def files(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with one of everything."""
    root = tmp_path_factory.mktemp("files")
    pool.image(root / "a" / "one.png", 6)
    pool.image(root / "b" / "one.jpg", 7, fake=True)
    pool.image(root / "b" / ODD, 8)
    pair = [_beside(*both) for both in zip(pool.frames(6), pool.frames(7, fake=True), strict=True)]
    assert cv2.imwrite(str(root / "two.png"), pair[0][..., ::-1])
    write_image(root / "nobody.png")
    (root / "broken.mp4").write_bytes(b"no video")
    (root / "notes.txt").write_text("not looked at")
    write_frames(root / "both.mp4", [*pair[:3], np.zeros_like(pair[0]), *pair[3:]])
    return root


def _beside(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    height = min(len(left), len(right)) // 2 * 2
    return np.concatenate([left[:height], right[:height]], axis=1)


@pytest.fixture(scope="module")
def found(
    run: Run, files: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Predictions, Path]:
    out = tmp_path_factory.mktemp("out")
    spec = f"folder:{run.clips}"
    return predict([files], run.detector, run.places, out=out, cam=True, similar=spec), out


def named(predictions: Predictions, name: str) -> FilePrediction:
    (one,) = [one for one in predictions.files if Path(one.file).name == name]
    return one


def test_a_prediction_is_what_the_evaluation_was(run: Run, tmp_path: Path) -> None:
    done = predict([run.clips / "test"], run.detector, run.places, out=tmp_path, frames=FRAMES)
    assert_as_evaluated(done, run.scores)


@pytest.mark.slow
@pytest.mark.parametrize(
    "model",
    [
        ModelConfig(name="sift_forest"),
        ModelConfig(input="rgb+diff", input_size=32),
        ModelConfig(name="resnet18", input_size=32, dtype="bfloat16"),
    ],
)
def test_of_other_detectors_too(run: Run, tmp_path: Path, model: ModelConfig) -> None:
    values = to_dict(dataclasses.replace(_config(run.clips), model=model))
    values["data"]["crop"] = "head"
    values["data"]["format"] = "png"
    values["scoring"]["aggregate"] = "mean_logit"
    values["classical"] = {"grid": "coarse", "words": 8, "folds": 2}
    places = dataclasses.replace(run.places, runs_dir=tmp_path / "runs")
    folder = train(from_dict(values, "test"), places)
    _, card = evaluate(folder, f"folder:{run.clips}", places)
    detector = find_detector(card, places.runs_dir)
    paths = [run.clips / "test", *(run.clips / "val").rglob("*.mp4")]
    done = predict(paths, detector, places, out=tmp_path, frames=FRAMES, cam=True)
    assert detector.recipe.crop == "head"
    assert_as_evaluated(done, card.with_name("scores.parquet"))
    said = [note for note in done.notes if note.startswith("--cam")]
    assert bool(said) == (model.name == "sift_forest")
    video = next(one for one in done.files if one.faces)
    logits = [face.logit for face in video.faces if face.track == video.track]
    assert video.p_fake == pytest.approx(float(sigmoid(np.float32(np.mean(logits)))), abs=1e-5)


@pytest.mark.slow
def test_a_picture_has_no_frame_before_it(run: Run, files: Path, tmp_path: Path) -> None:
    values = to_dict(_config(run.clips)) | {"model": {"input": "diff", "input_size": 32}}
    places = dataclasses.replace(run.places, runs_dir=tmp_path / "runs")
    folder = train(from_dict(values, "test"), places)
    detector = find_detector(folder, places.runs_dir)
    spec = f"folder:{run.clips}"
    paths = [files / "two.png", files / "both.mp4"]
    done = predict(paths, detector, places, out=tmp_path, frames=4, similar=spec)
    still, video = done.files
    assert still.reason == "no other frame beside it in 1 frame"
    assert {face.frame for face in video.faces} <= {0, 1, 2, 4, 5, 6, 7, 8}
    assert {clip.p_fake for clip in video.similar} == {None}


def assert_as_evaluated(done: Predictions, scores: Path) -> None:
    """Compare the biggest face of each frame with what the evaluation has of it."""
    table = read_scores(scores)
    rows = [i for i in range(len(table)) if table.frame[i] >= 0]
    logits = {(_key(table.video[i]), int(table.frame[i])): table.logit[i] for i in rows}
    biggest = {}
    for one in done.files:
        for face in sorted(one.faces, key=lambda face: face.box[2] - face.box[0]):
            biggest[_key(one.file), face.frame] = face
    assert len(logits) >= 4 * (FRAMES - 1)
    for key, logit in logits.items():
        assert biggest[key].logit == pytest.approx(float(logit), abs=1e-5)
        assert biggest[key].p_fake == pytest.approx(float(sigmoid(logit)), abs=1e-5)
    tested = {_key(one.file) for one in done.files if "/test/" in one.file}
    assert {key for key in biggest if key[0] in tested} == logits.keys()
    assert np.ptp(list(logits.values())) > 1e-3  # or all would be alike


def _key(path: str) -> tuple[str, str]:
    """Return class and file name, of `folder/real/test/4.mp4` as of `test/real/4.mp4`."""
    return "fake" if "/fake/" in path else "real", path.rsplit("/", 1)[-1]


def test_what_the_settings_of_the_run_are(run: Run, found: tuple[Predictions, Path]) -> None:
    card = read_card(run.card)
    assert card.calibration is not None
    detector, scorer = run.detector, found[0].scorer
    assert detector.threshold == scorer.threshold == card.calibration.threshold
    assert detector.temperature == scorer.temperature == card.calibration.temperature
    assert scorer.threshold_from.startswith("chosen on the val split of folder:")
    assert scorer.checkpoint == card.files["checkpoint"]
    recipe = scorer.recipe
    assert (recipe["detector"], recipe["margin"], recipe["size"]) == ("haar", 1.5, 48)
    assert detector.recipe == CropRecipe(detector="haar", margin=1.5, size=48)


def test_one_face_two_faces_and_none(found: tuple[Predictions, Path]) -> None:
    predictions, _ = found
    one, two = (named(predictions, name) for name in ("one.png", "two.png"))
    assert (one.reason, one.frames, one.frames_with_faces, len(one.faces)) == ("", 1, 1, 1)
    assert (one.p_fake, one.fake) == (one.faces[0].p_fake, one.tracks[0].fake)
    left, right = two.faces
    assert left.box[0] < right.box[0]
    assert [left.track, right.track] == [1, 2]
    assert two.p_fake == max(left.p_fake, right.p_fake)
    assert two.track == (1 if left.p_fake > right.p_fake else 2)
    nobody, broken = (named(predictions, name) for name in ("nobody.png", "broken.mp4"))
    assert (nobody.reason, nobody.p_fake, nobody.faces) == ("no face found in 1 frame", None, ())
    assert (broken.reason, broken.frames) == ("not a video that can be decoded", 0)
    assert not nobody.pictures
    assert not any(one.file.endswith(".txt") for one in predictions.files)


def test_a_video_has_a_line_for_each_person(found: tuple[Predictions, Path]) -> None:
    predictions, out = found
    video = named(predictions, "both.mp4")
    assert (video.frames, video.frames_with_faces) == (9, 8)
    assert [track.track for track in video.tracks] == [1, 2]
    for track in video.tracks:
        faces = [face for face in video.faces if face.track == track.track]
        assert track.frames == len(faces) >= 7
        assert track.p_fake == pytest.approx(np.mean([face.p_fake for face in faces]), abs=1e-6)
        assert np.ptp([face.box[0] for face in faces]) < 60  # it stays on its side
        assert (track.first_s, track.last_s) == (faces[0].time_s, faces[-1].time_s)
    assert video.p_fake == max(track.p_fake for track in video.tracks)
    timeline = cv2.imread(str(out / video.pictures["timeline"]))
    assert timeline.shape[1] > 1000
    capture = cv2.VideoCapture(str(out / video.pictures["faces"]))
    frames = []
    while (read := capture.read())[0]:
        frames.append(read[1])
    assert len(frames) == 9 * 8  # also the one without a face
    blue, orange = np.array((178, 114, 0)), np.array((0, 94, 213))
    edges = [np.abs(frames[0].astype(int) - colour).sum(-1).min() for colour in (blue, orange)]
    assert min(edges) < 60


def test_tables_agree(found: tuple[Predictions, Path]) -> None:
    predictions, out = found
    data = json.loads((out / "predictions.json").read_bytes())
    assert [one["file"] for one in data["files"]] == [one.file for one in predictions.files]
    with (out / "predictions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    faces = [(one["file"], face) for one in data["files"] for face in one["faces"]]
    scored = [row for row in rows if not row["reason"]]
    assert len(scored) == len(faces)
    for row, (name, face) in zip(scored, faces, strict=True):
        assert row["file"] == name
        assert [float(row[k]) for k in ("x0", "y0", "x1", "y1")] == face["box"]
        for key in ("frame", "time_s", "track", "detector_score", "logit", "p_fake"):
            assert float(row[key]) == face[key]
        calibrated = face["p_calibrated"]
        assert row["p_calibrated"] == ("" if calibrated is None else str(calibrated))
    unscored = {Path(row["file"]).name: row["reason"] for row in rows if row["reason"]}
    assert unscored == {
        "broken.mp4": "not a video that can be decoded",
        "nobody.png": "no face found in 1 frame",
    }


def test_names_are_safe_and_do_not_collide(found: tuple[Predictions, Path]) -> None:
    predictions, out = found
    pictures = [name for one in predictions.files for name in one.pictures.values()]
    assert len({name.casefold() for name in pictures}) == len(pictures)
    assert {path.name for path in out.iterdir()} == {
        *pictures,
        "predictions.json",
        "predictions.csv",
    }
    for name in pictures:
        assert name.isascii()
        assert name.replace("-", "").replace(".", "").replace("_", "").isalnum(), name
    assert named(predictions, "two.png").pictures["faces"] == "two-faces.jpg"
    assert named(predictions, "one.png").pictures["faces"].startswith("one-")  # there are two
    assert named(predictions, ODD).p_fake is not None


def test_evidence_is_drawn_beside_the_crops(found: tuple[Predictions, Path]) -> None:
    predictions, out = found
    for name in ("one.png", "both.mp4"):
        picture = cv2.imread(str(out / named(predictions, name).pictures["evidence"]))
        hue = picture.astype(int)
        assert (np.abs(hue[..., 0] - hue[..., 2]) > 40).any()  # orange or blue
    assert not any(note.startswith("--cam") for note in predictions.notes)


def test_similar_clips_are_found_and_scored_too(run: Run, found: tuple[Predictions, Path]) -> None:
    predictions, out = found
    table = read_scores(run.scores)
    rows = range(len(table))
    logits = {(_key(table.video[i]), int(table.frame[i])): table.logit[i] for i in rows}
    two = named(predictions, "two.png")
    assert [clip.rank for clip in two.similar] == [*range(1, 11)] * 2
    seen = 0
    for one in predictions.files:
        for clip in one.similar:
            assert clip.p_fake is not None
            assert clip.fake == (clip.p_fake >= run.detector.threshold)
            if clip.split == "test":
                seen += 1
                p_fake = float(sigmoid(logits[_key(clip.video), clip.frame]))
                assert clip.p_fake == pytest.approx(p_fake, abs=1e-5)
    assert seen
    assert cv2.imread(str(out / two.pictures["similar"])) is not None
    assert any(note.startswith("similar: ") for note in predictions.notes)


def test_the_command_says_what_it_did(
    run: Run, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--checkpoint", str(run.folder), "--out", str(tmp_path / "out"), "--jobs", "1"]
    assert cli.main(["predict", str(files / "two.png"), str(files / "b"), *arguments]) == 0
    printed = capsys.readouterr().out
    assert "  face 2" in printed
    assert "called fake: P(fake) of" in printed
    assert "it proves nothing" in printed
    assert "\x1b" not in printed
    # What was drawn is not taken for input.
    again = ["predict", str(tmp_path), *arguments]
    assert cli.main(again) == 2
    assert "no image or video in this folder" in capsys.readouterr().err


def test_nothing_scored_has_a_status_of_its_own(
    run: Run, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [str(files / name) for name in ("nobody.png", "broken.mp4")]
    arguments = ["--checkpoint", str(run.folder), "--out", str(tmp_path), "--jobs", "1", "--json"]
    assert cli.main(["predict", *names, *arguments]) == 3
    data = json.loads(capsys.readouterr().out)
    assert [bool(one["reason"]) for one in data["files"]] == [True, True]
    assert (tmp_path / "predictions.csv").is_file()


def test_a_file_that_crashes_costs_itself(
    run: Run, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Boxes are drawn on decoded files too: that may crash where finding faces did not."""
    monkeypatch.setattr(extract, "_start_worker", start_crashing_worker)
    monkeypatch.setattr(predict_drawing, "one_thread", start_crashing_drawing)
    shutil.copyfile(files / "b" / "one.jpg", tmp_path / "bad.jpg")
    shutil.copyfile(files / "b" / "one.jpg", tmp_path / "undrawn.jpg")
    names = [tmp_path / "bad.jpg", tmp_path / "undrawn.jpg", files / "two.png"]
    done = predict(names, run.detector, run.places, out=tmp_path / "out")
    bad, undrawn, two = done.files
    assert bad.reason == f"{extract.CRASHED} (signal 6)"
    assert (undrawn.reason, undrawn.pictures) == ("", {})
    assert undrawn.p_fake is not None
    assert f"{names[1]}: no boxes drawn: signal 6" in done.notes
    assert (tmp_path / "out" / two.pictures["faces"]).is_file()


@pytest.mark.slow
def test_hostile_files_have_reasons(run: Run, files: Path, tmp_path: Path) -> None:
    corpus = {file.name: file for file in write_corpus(tmp_path / "hostile")}
    out = tmp_path / "out"
    arguments = [str(tmp_path / "hostile"), str(files / "two.png"), "--out", str(out)]
    arguments += ["--checkpoint", str(run.folder), "--frames", "4"]
    assert cli.main(["predict", *arguments]) == 0
    data = json.loads((out / "predictions.json").read_bytes())
    rows = {Path(one["file"]).name: one for one in data["files"]}
    assert len(rows) == len(corpus) + 1
    assert rows["two.png"]["p_fake"] is not None
    for name in corpus:
        assert bool(rows[name]["reason"]) != bool(rows[name]["faces"]), name
    assert not any("no boxes drawn" in note for note in data["notes"])


@pytest.mark.parametrize(
    ("file", "checkpoint", "message"),
    [
        ("gone.png", "run", "gone.png: no such file or folder"),
        ("empty", "run", "empty: no image or video in this folder"),
        ("one.png", "nowhere", "nowhere: no such run; --checkpoint takes the folder"),
        ("one.png", "empty", "empty: no finished training here"),
        ("one.png", "one.png", "neither a run's folder nor a result card"),
        ("one.png", "runs", "no finished training here|name the folder of one|no card"),
    ],
)
def test_mistakes_are_one_line(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str],
    file: str, checkpoint: str, message: str,
) -> None:  # fmt: skip
    (tmp_path / "empty").mkdir()
    (tmp_path / "runs" / "half").mkdir(parents=True)
    write_image(tmp_path / "one.png")
    where = run.folder if checkpoint == "run" else tmp_path / checkpoint
    out = str(tmp_path / "out")
    arguments = ["predict", str(tmp_path / file), "--checkpoint", str(where), "--out", out]
    assert cli.main(arguments) == 2
    printed = capsys.readouterr()
    assert any(part in printed.err for part in message.split("|")), printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_settings_that_cannot_be_met_are_said_first(run: Run, files: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said: list[str] = []
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"out": tmp_path / "file"}, "a file, and no folder to write into"),
        ({"out": tmp_path / "out", "frames": 0}, "look at 1 frame at least"),
        ({"out": tmp_path / "out", "similar": "synth_swp"}, "--similar: unknown dataset"),
    ]
    for settings, message in wrong:
        with pytest.raises(UserError, match=message):
            predict([files], run.detector, run.places, reporter=Reporter(said.append), **settings)
    assert not (tmp_path / "out").exists()
    assert not said


def test_a_card_means_its_run(run: Run, tmp_path: Path) -> None:
    inside = find_detector(run.card, tmp_path / "elsewhere")
    assert inside.run.resolve() == run.folder.resolve()
    card = tmp_path / "leaderboard" / "entry" / run.card.name
    card.parent.mkdir(parents=True)
    shutil.copyfile(run.card, card)
    for path in (card, card.parent, run.folder / "checkpoints" / "best"):
        detector = find_detector(path, run.places.runs_dir)
        assert detector.run == run.folder
        assert detector.threshold == run.detector.threshold


def test_a_card_without_its_run_says_how_to_train_it(run: Run, tmp_path: Path) -> None:
    card = tmp_path / run.card.name
    shutil.copyfile(run.card, card)
    with pytest.raises(UserError) as caught:
        find_detector(card, tmp_path)
    says = str(caught.value)
    assert "train it again, and name that run: dfbench train --train folder:" in says
    command = says.split("name that run: ")[1]
    # The command means the same training.
    args = cli._parser().parse_args(shlex.split(command)[1:])
    (config,) = selection(args).configs
    assert training_hash(config) == read_card(card).training_hash


def test_a_command_with_phases_and_odd_names(run: Run, tmp_path: Path) -> None:
    card = read_card(run.card)
    config = dict(card.config)
    config["train"] = "folder:/a b; rm -rf 'x'"
    config["phases"] = [{"epochs": 2, "train": ["head.*"], "optim": {"name": "sgd", "lr": 0.5}}]
    command = training_command(run.card, dataclasses.replace(card, config=config))
    words = shlex.split(command)
    assert words[3] == "folder:/a b; rm -rf 'x'"
    (phases,) = [w for w in words if w.startswith("phases=")]
    parsed = from_dict(parse_assignment(phases), "test").phases
    assert (parsed[0].epochs, parsed[0].train, parsed[0].optim.lr) == (2, ("head.*",), 0.5)


def test_another_checkpoint_than_the_cards_is_refused(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "runs" / run.folder.name
    shutil.copytree(run.folder, folder)
    card = tmp_path / run.card.name
    shutil.copyfile(run.card, card)
    (folder / "checkpoints" / "best" / "added").write_bytes(b"x")
    with pytest.raises(UserError, match=r"not the checkpoint that .* was made with"):
        find_detector(card, tmp_path / "runs")
    shutil.rmtree(folder / "checkpoints" / "best")
    with pytest.raises(UserError, match="no such checkpoint; train again"):
        find_detector(folder, tmp_path / "runs")


def test_scores_that_were_handed_in_have_no_detector(run: Run, tmp_path: Path) -> None:
    card = dataclasses.replace(read_card(run.card), origin="scores", training=None)
    write_card(card, tmp_path / run.card.name)
    with pytest.raises(UserError, match="handed in; it has no checkpoint"):
        find_detector(tmp_path / run.card.name, run.places.runs_dir)


def test_without_a_card_the_threshold_is_a_half_and_said(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder, ignore=shutil.ignore_patterns("evals", "val_scores*"))
    detector = find_detector(folder, tmp_path)
    assert (detector.threshold, detector.temperature) == (0.5, None)
    assert detector.threshold_from.startswith("none was chosen on the val split of folder:")
    assert "`dfbench eval` does that" in detector.threshold_from


def test_bars_are_shown(run: Run, files: Path, tmp_path: Path) -> None:
    bars: dict[str, tuple[int, int]] = {}

    @contextmanager
    def bar(title: str, unit: str) -> Any:
        def report(done: int, total: int, note: str = "") -> None:
            bars[title] = (done, total)

        yield report

    names = [files / name for name in ("two.png", "nobody.png")]
    predict(names, run.detector, run.places, out=tmp_path, reporter=Reporter(bar=bar))
    assert bars == {"finding faces": (2, 2), "scoring faces": (2, 2), "drawing": (1, 1)}
