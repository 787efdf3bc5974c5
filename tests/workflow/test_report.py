from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import cv2
import numpy as np
import pytest
from support.evals import make_scores, write_evaluation
from workflow.conftest import Trained

from dfbench.cli import main
from dfbench.errors import UserError
from dfbench.results.card import Metric
from dfbench.results.store import SCORES, read_card, write_card
from dfbench.workflow.report import report

NOWHERE = Path("/nonexistent")


NOT_DRAWN = {
    "one class": make_scores(fakes={}),
    "one video": make_scores(reals=0, fakes={"swap": 1}),
    "no detected face": make_scores(reals=0, fakes={}, undetected=3),
}


def write(run: Path, **options: object) -> tuple[str, dict[str, Path]]:
    """Return the page's text and the files by name."""
    paths = report(run, data_dir=NOWHERE, **options)  # type: ignore[arg-type]
    out = paths[0].parent
    return paths[0].read_text(encoding="utf-8"), {
        path.relative_to(out).as_posix(): path for path in paths
    }


def missing(text: str) -> dict[str, str]:
    """Return what a page does not show, and why."""
    items = re.findall(r"<li>([^<:]+): ([^<]*)\.</li>", text)
    return dict(items)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a run with two evaluations and scores of source val."""
    folder = tmp_path_factory.mktemp("run")
    val = make_scores(seed=7)
    one = make_scores(fakes={"swap": 12, "blend": 12}, undetected=1)
    write_evaluation(folder / "evals" / "synth_swap", one, val=val, eval="synth_swap",
                     training_hash="t")  # fmt: skip
    write_evaluation(folder / "evals" / "synth_blend", make_scores(seed=3), val=val,
                     training_hash="t")  # fmt: skip
    rows = [
        {"step": 5, "epoch": 1, "loss": 0.6},
        {"step": 5, "epoch": 1, "val_loss": 0.5, "val_video_auc": 0.8, "best": True},
    ]
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (folder / "metrics.jsonl").write_text(text, encoding="utf-8")
    return folder


def test_a_run_has_all_figures(run: Path, tmp_path: Path) -> None:
    text, files = write(run, out=tmp_path)
    names = {
        "roc", "det", "scores_videos", "scores_frames", "confusion", "reliability",
        "timeline_fake", "timeline_real", "timeline_typical",
    }  # fmt: skip
    for dataset in ("synth_swap", "synth_blend"):
        assert {f"{dataset}/{name}.svg" for name in names} <= set(files)
    assert {"index.html", "overview.svg", "learning_curves.svg"} <= set(files)
    assert all(path.stat().st_size for path in files.values())
    drawn = {name for name in files if name != "index.html"}
    assert set(re.findall(r'<a href="([^#"]+)">SVG file', text)) == drawn
    assert text.count("<svg") == len(drawn)
    assert text.index("synth_swap</h2>") < text.index("synth_blend</h2>")
    absent = missing(text)
    assert set(absent) <= {"Most wrong faces", "By manipulation"}
    assert "are not here" in absent["Most wrong faces"]
    assert "No face was found in 1 real videos" in text
    assert "//" not in re.sub('base64,[^"]*', "", text)
    card = read_card(next(run.glob("evals/synth_swap/*.card.json")))
    auc = card.metrics["video_auc"]
    assert f"AUC {auc.value:.3f} [{auc.low:.3f}, {auc.high:.3f}]" in text


def test_equal_runs_give_equal_bytes(tmp_path: Path) -> None:
    write_evaluation(tmp_path / "run" / "evals" / "x", NOT_DRAWN["one video"])
    _, first = write(tmp_path / "run", out=tmp_path / "a")
    _, second = write(tmp_path / "run", out=tmp_path / "b")
    assert {k: p.read_bytes() for k, p in first.items()} == {
        k: p.read_bytes() for k, p in second.items()
    }


def test_one_evaluation_as_png_in_its_own_folder(tmp_path: Path) -> None:
    folder = tmp_path / "evals" / "synth_blend"
    write_evaluation(folder, make_scores(), train="", audit=None, training=None, origin="scores")
    text, files = write(folder, format="png")
    assert files["index.html"] == folder / "report" / "index.html"
    assert cv2.imread(str(files["synth_blend/roc.png"])) is not None
    assert "<svg" not in text
    assert text.count("data:image/png") == len(files) - 1
    assert missing(text)["Learning curves"] == "the training is not here"
    assert "training data unknown" in text
    assert "No temperature" in text


@pytest.mark.parametrize("name", NOT_DRAWN)
def test_what_cannot_be_drawn_says_why(tmp_path: Path, name: str) -> None:
    write_evaluation(tmp_path / "run" / "evals" / "x", NOT_DRAWN[name])
    text, files = write(tmp_path / "run")
    absent = missing(text)
    assert {"ROC curve", "DET curve", "Reliability"} <= set(absent)
    assert re.search(r"no (real|fake)", absent["ROC curve"])
    assert ("x/scores_videos.svg" in files) == (name != "no detected face")
    assert "undefined" in text


def test_constant_scores_have_figures(tmp_path: Path) -> None:
    table = make_scores()
    half = np.zeros(len(table), np.float32)
    flat = dataclasses.replace(table, logit=half, p_fake=half + np.float32(0.5))
    write_evaluation(tmp_path / "run" / "evals" / "x", flat)
    _, files = write(tmp_path / "run")
    assert {"x/roc.svg", "x/det.svg", "x/reliability.svg", "x/confusion.svg"} <= set(files)


def test_of_300_manipulations_the_page_has_all_and_the_figure_the_hardest(tmp_path: Path) -> None:
    parts = {
        f"manipulation/m{k}": {"video_auc": Metric(value=0.4 + k / 600, low=0.3, high=0.95, n=9)}
        for k in range(300)
    }
    write_evaluation(tmp_path / "run" / "evals" / "x", NOT_DRAWN["one class"], breakdown=parts)
    text, files = write(tmp_path / "run")
    assert text.count('<th scope="row">manipulation/m') == 300
    drawn = files["x/by_manipulation.svg"].read_text(encoding="utf-8")
    assert re.findall(r">(m\d+)<", drawn) == [f"m{k}" for k in range(20)]
    assert "20 lowest of 300" in text


def test_hostile_names_are_text(tmp_path: Path) -> None:
    name = "<script>alert(1)</script>$x^2${\x1b[31m\u202e顔"
    table = make_scores(dataset=name, fakes={name: 20})
    part = {f"{name}/{name}": {"video_auc": Metric(value=0.7, low=0.6, high=0.8, n=9)}}
    folder = tmp_path / "run" / "evals" / "x"
    write_evaluation(
        folder, table, model=name, train=name, eval=name, warnings=(name,), breakdown=part
    )
    text, files = write(tmp_path / "run")
    assert "<script" not in text
    assert "\x1b" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;$x^2${" in text
    assert "//" not in text
    assert all(path.resolve().is_relative_to(tmp_path.resolve()) for path in files.values())


def test_faces_and_times_come_from_prepared_data(trained: Trained, tmp_path: Path) -> None:
    data = trained.places.data_dir
    paths = report(trained.folder, data_dir=data, out=tmp_path / "with")
    text = paths[0].read_text(encoding="utf-8")
    sheets = [path for path in paths if path.name == "faces.png"]
    assert len(sheets) == 2
    assert all(cv2.imread(str(sheet)).std() > 10 for sheet in sheets)
    assert text.count("data:image/jpeg") >= 8
    assert "Most wrong faces" not in missing(text)
    without = report(trained.folder, data_dir=data, out=tmp_path / "without", faces=False)
    text = without[0].read_text(encoding="utf-8")
    assert "data:image" not in text
    assert missing(text)["Most wrong faces"] == "faces were not asked for"


# --- what cannot be reported ----------------------------------------------------------------------


def test_a_run_that_is_not_finished_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "config.toml").write_text("seed = 1\n")
    with pytest.raises(UserError, match="no finished training here"):
        report(tmp_path, data_dir=NOWHERE)


def test_a_run_that_is_not_scored_is_an_error(trained: Trained, tmp_path: Path) -> None:
    for name in ("config.toml", "training.json"):
        (tmp_path / name).write_bytes((trained.folder / name).read_bytes())
    with pytest.raises(UserError, match="not scored yet: `dfbench eval"):
        report(tmp_path, data_dir=NOWHERE)


def test_no_folder_and_no_card_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        report(tmp_path / "x", data_dir=NOWHERE)
    with pytest.raises(UserError, match="no result card"):
        report(tmp_path, data_dir=NOWHERE)


def test_several_trainings_are_an_error(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_evaluation(tmp_path / f"run{seed}" / "evals" / "x", make_scores(), seed=seed)
    with pytest.raises(UserError, match="results of 2 trainings"):
        report(tmp_path, data_dir=NOWHERE)


def test_scores_that_are_not_the_cards_are_an_error(tmp_path: Path) -> None:
    folder = tmp_path / "evals" / "x"
    path = write_evaluation(folder, make_scores())
    (folder / SCORES).write_bytes((folder / SCORES).read_bytes() + b" ")
    with pytest.raises(UserError, match="is not the file that the card was computed from"):
        report(tmp_path, data_dir=NOWHERE)
    (folder / SCORES).unlink()
    with pytest.raises(UserError, match="scores"):
        report(tmp_path, data_dir=NOWHERE)
    write_evaluation(folder, make_scores())
    card = read_card(path)
    config = {**card.config, "scoring": {"confidence": 7}}
    write_card(dataclasses.replace(card, config=config), path)
    with pytest.raises(UserError, match=r"config\.scoring: .*confidence"):
        report(tmp_path, data_dir=NOWHERE)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_evaluation(tmp_path / "run" / "evals" / "x", NOT_DRAWN["one video"])
    out = tmp_path / "out"
    options = ["--out", str(out), "--data-dir", str(NOWHERE), "--format", "png", "--json"]
    assert main(["report", str(tmp_path / "run"), *options]) == 0
    paths = [Path(path) for path in json.loads(capsys.readouterr().out)]
    assert paths[0] == out / "index.html"
    assert all(path.is_file() for path in paths)
    assert main(["report", str(tmp_path / "none")]) == 2
    assert capsys.readouterr().err.count("\n") == 1
