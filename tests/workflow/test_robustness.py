"""Degraded crops from the command line to the card, the page and the leaderboard."""

from __future__ import annotations

import contextlib
import csv
import dataclasses
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from support.cards import make_card
from workflow.conftest import Trained

from dfbench import cli
from dfbench.config import RunConfig, to_dict
from dfbench.eval.delong import delong, paired_p_value
from dfbench.eval.scores import read_scores
from dfbench.eval.videos import video_scores
from dfbench.results.card import ResultCard
from dfbench.results.store import SCORES, load_cards, read_card
from dfbench.workflow.matrix import cells_of
from dfbench.workflow.report import report
from dfbench.workflow.robustness import PICTURE
from dfbench.workflow.verify import check
from dfbench.workflow.verify_protocol import protocol_differences

DEGRADE = "resize:0.1,noise:90+20"


@dataclass(frozen=True)
class Made:
    """What a call of the command left."""

    trained: Trained
    runs: Path
    out: str
    err: str

    @property
    def run(self) -> Path:
        return self.runs / self.trained.folder.name

    def command(self, degrade: str) -> list[str]:
        arguments = ["run", "--train", self.trained.config.train, "--model", "meso4"]
        arguments += ["--eval", self.trained.across[0].cell.eval, "--degrade", degrade]
        arguments += ["--data-dir", str(self.trained.places.data_dir), "--jobs", "1"]
        sections = to_dict(self.trained.config).items()
        for section, values in ((k, v) for k, v in sections if isinstance(v, dict)):
            pairs = [(k, v) for k, v in values.items() if (section, k) != ("model", "name")]
            arguments += [w for k, v in pairs for w in ("--set", f"{section}.{k}={json.dumps(v)}")]
        return [*arguments, "--runs-dir", str(self.runs)]

    def cards(self) -> dict[str, tuple[ResultCard, Path]]:
        """Return cards and their paths, by what was done to the crops of the other dataset."""
        other = self.trained.across[0].cell.eval
        stored = load_cards([self.run])
        return {s.card.cell.degrade: (s.card, s.path) for s in stored if s.card.cell.eval == other}


@pytest.fixture(scope="module")
def made(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> Made:
    """The runs of `trained`, with degraded crops besides."""
    runs = tmp_path_factory.mktemp("degraded") / "runs"
    shutil.copytree(trained.places.runs_dir, runs)
    return Made(trained, runs, *call(*Made(trained, runs, "", "").command(DEGRADE)))


def call(*arguments: str) -> tuple[str, str]:
    """Return what a command that ends well prints on stdout and stderr."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        assert cli.main(arguments) == 0
    return out.getvalue(), err.getvalue()


def test_each_degradation_has_a_card_of_its_own(made: Made) -> None:
    assert "reusing the finished training" in made.err
    cards = made.cards()
    assert set(cards) == {"", "resize:0.1", "noise:90", "noise:20"}
    for degrade, (card, path) in cards.items():
        assert card.config.get("degrade", []) == ([degrade] if degrade else [])
        assert card.training_hash == cards[""][0].training_hash
        assert card.files["checkpoint"] == cards[""][0].files["checkpoint"]
        assert path.parent.name.partition("@")[2] == degrade.replace(":", "-")
        assert read_card(path) == card
    names = {path.name for _, path in cards.values()}
    assert len(names) == len({path.parent for _, path in cards.values()}) == 4


def test_degraded_crops_have_other_scores_of_the_same_videos(made: Made) -> None:
    cards = made.cards()
    clean = read_scores(cards[""][1].with_name(SCORES))
    seen = ~np.isnan(clean.p_fake)
    assert 0 < seen.sum() < len(clean)  # broken files stay counted
    for degrade in ("resize:0.1", "noise:90", "noise:20"):
        table = read_scores(cards[degrade][1].with_name(SCORES))
        for name in ("dataset", "video", "split", "manipulation"):
            assert getattr(table, name).tolist() == getattr(clean, name).tolist()
        np.testing.assert_array_equal(table.frame, clean.frame)
        np.testing.assert_array_equal(np.isnan(table.p_fake), ~seen)
        assert (table.p_fake[seen] != clean.p_fake[seen]).mean() > 0.9
        assert cards[degrade][0].coverage == cards[""][0].coverage


def test_threshold_and_temperature_are_those_of_clean_crops(made: Made) -> None:
    cards = made.cards()
    clean = cards[""][0]
    assert clean.calibration is not None
    for card, path in cards.values():
        assert card.calibration == clean.calibration
        assert card.files["val_scores"] == clean.files["val_scores"]
        assert path.with_name("val_scores.parquet").is_file()


def test_the_terminal_shows_both_and_the_change(made: Made) -> None:
    lines = made.out.splitlines()
    assert sum(line.startswith("robustness: meso4, trained on") for line in lines) == 2
    assert sum(line.lstrip().startswith("noise:90 ") for line in lines) == 2
    assert sum(line.startswith("card: ") for line in lines) == 8
    matrix = made.out.partition("robustness:")[0]
    assert "noise" not in matrix  # which is of clean crops alone
    cards = made.cards()
    videos = [video_scores(read_scores(cards[d][1].with_name(SCORES))) for d in ("", "noise:90")]
    seen = videos[0].frames > 0
    scores = np.array([one.p_fake[seen] for one in videos])
    auc, covariance = delong(videos[0].label[seen], scores)
    assert auc[0] == pytest.approx(cards[""][0].metrics["video_auc"].value)
    p = paired_p_value(auc, covariance, 0, 1)
    shown = [line for line in lines if line.lstrip().startswith("noise:90 ")][1]
    assert f"{auc[1]:.3f} [" in shown
    assert f" {auc[1] - auc[0]:+.3f} [" in shown
    assert ("< 0.001" if p < 0.001 else f"  {p:.3f}  ") in shown


def test_the_sweep_is_drawn(made: Made) -> None:
    assert f"sweep: {made.run / PICTURE}" in made.out
    image = cv2.imread(str(made.run / PICTURE))
    assert image.std() > 10


def test_the_cards_are_verified_and_a_false_degradation_is_named(
    made: Made, tmp_path: Path
) -> None:
    for card, path in made.cards().values():
        verdict = check(path, made.trained.places.data_dir)
        assert verdict.good, (card.cell.degrade, verdict.differences)
    _, path = made.cards()["noise:20"]

    def changed(edit: Callable[[Any], object]) -> list[str]:
        folder = tmp_path / "evals" / "x"
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(path.parent, folder)
        raw = json.loads((folder / path.name).read_text())
        edit(raw)
        (folder / path.name).write_text(json.dumps(raw))
        return [difference.field for difference in check(folder / path.name).differences]

    assert changed(lambda raw: None) == []
    found = changed(lambda raw: raw["cell"].update(degrade="noise:30"))
    assert {"file name", "config.degrade[0]"} <= set(found)
    assert "cell.degrade" in changed(lambda raw: raw["cell"].update(degrade="noise:20.0"))
    assert changed(lambda raw: raw["cell"].update(degrade=""))


def test_a_second_call_uses_the_cards_again(made: Made) -> None:
    before = {path: path.stat().st_mtime_ns for _, path in made.cards().values()}
    out, err = call(*made.command("noise:90+20,resize:.10"))
    assert err.count("reusing the scores of") == 8
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "robustness:" in out


def test_scores_do_not_depend_on_how_they_are_batched(made: Made, tmp_path: Path) -> None:
    run = shutil.copytree(made.run, tmp_path / made.run.name)
    settings = (run / "config.toml").read_text()
    assert "batch_size = 16" in settings
    (run / "config.toml").write_text(settings.replace("batch_size = 16", "batch_size = 40"))
    other = made.trained.across[0].cell.eval
    data = str(made.trained.places.data_dir)
    arguments = ["eval", str(run), "--eval", other, "--data-dir", data, "--jobs", "1"]
    out, err = call(*arguments, "--degrade", "noise:20", "--degrade", "blur:1")
    assert "reusing the scores" not in err  # another batch size is another configuration
    assert "blur:1 " in out
    assert "resize" not in out
    # What was there before is still drawn, with a panel more.
    heights = [cv2.imread(str(folder / PICTURE)).shape[0] for folder in (made.run, run)]
    assert heights[0] < heights[1]
    cards = {s.card.cell.degrade: s.path for s in load_cards([run]) if s.card.cell.eval == other}
    assert "blur:1" in cards
    one = read_scores(made.cards()["noise:20"][1].with_name(SCORES))
    two = read_scores(cards["noise:20"].with_name(SCORES))
    np.testing.assert_allclose(one.logit, two.logit, atol=1e-5)


def test_the_leaderboard_has_a_section_and_counts_none_of_it(made: Made, tmp_path: Path) -> None:
    clean = shutil.copytree(made.runs, tmp_path / "clean", ignore=shutil.ignore_patterns("*@*"))
    call("leaderboard", str(made.runs), "--out", str(tmp_path / "all"))
    call("leaderboard", str(clean), "--out", str(tmp_path / "board"))
    one, two = tmp_path / "all", tmp_path / "board"
    assert (one / "matrix.png").read_bytes() == (two / "matrix.png").read_bytes()
    pages = [(folder / "README.md").read_text() for folder in (one, two)]
    tables = [page.partition("## Video AUC")[2].partition("![")[0] for page in pages]
    assert tables[0] == tables[1]
    section = pages[0].partition("## Robustness")[2].partition("\n## ")[0]
    head = next(line for line in section.splitlines() if line.startswith("| model"))
    cells = [cell.partition(" (")[0] for cell in head.strip("| ").split(" | ")]
    assert cells == ["model", "trained on", "clean", "resize:0.1", "noise:20", "noise:90"]
    assert "Robustness" not in pages[1]
    html = [(folder / "index.html").read_text() for folder in (one, two)]
    assert ['id="robustness"' in text for text in html] == [True, False]
    boards = [text.partition('<table id="board">')[2].partition("</table>")[0] for text in html]
    assert boards[0] == boards[1] != ""
    with (one / "leaderboard.csv").open(newline="") as file:
        evals = {row["eval"] for row in csv.DictReader(file)}
    other = made.trained.across[0].cell.eval
    assert {other, f"{other}@noise:20"} <= evals


def test_the_page_of_a_run_has_one_section_for_them(made: Made, tmp_path: Path) -> None:
    paths = report(made.run, data_dir=tmp_path, out=tmp_path / "report")
    text = paths[0].read_text(encoding="utf-8")
    assert text.count("Robustness</h2>") == 1
    assert text.count("</h2>") == 4  # overview, robustness, two datasets
    assert (tmp_path / "report" / "robustness.svg") in paths
    assert "resize:0.1" in text
    alone = made.cards()["noise:90"][1].parent
    paths = report(alone, data_dir=made.trained.places.data_dir, out=tmp_path / "alone")
    text = paths[0].read_text(encoding="utf-8")
    assert "crops degraded by noise:90" in text
    assert "faces are kept as they were before they were degraded" in text
    assert "data:image/jpeg" not in text


def test_cells_are_the_clean_ones_and_behind_each_the_degraded() -> None:
    config = RunConfig(train="a", eval=("b", "a"), degrade=("jpeg:50", "blur:1"))
    names = ("a", "a@jpeg:50", "a@blur:1", "b", "b@jpeg:50", "b@blur:1")
    assert cells_of(config) == names


def test_a_protocol_without_degraded_crops_says_so_of_a_card() -> None:
    card = make_card(0.8, protocol="tiny-1", seed=1)
    clean, _ = protocol_differences(card)
    cell = dataclasses.replace(card.cell, degrade="jpeg:50")
    found, _ = protocol_differences(dataclasses.replace(card, cell=cell))
    assert "cell.degrade" not in [one.field for one in clean]
    assert "cell.degrade" in [one.field for one in found]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--degrade", "jpg:50"], "--degrade: 'jpg:50' is no degradation; there are jpeg:QUALITY"),
        (["--degrade", "jpeg:500"], "--degrade: jpeg:500: QUALITY is a whole number from 1 to 100"),
        (["--degrade", ""], "--degrade: '' is no degradation"),
    ],
)
def test_a_wrong_one_is_a_line_before_anything_is_done(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    run = ["run", "--train", "synth_swap", "--runs-dir", str(tmp_path / "runs")]
    for command in (run, ["eval", str(tmp_path), "--eval", "synth_swap"]):
        assert cli.main([*command, *arguments]) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"dfbench: {message}")
        assert err.count("\n") == 1
    assert cli.main(["run", "--protocol", "tiny", "--degrade", "jpeg:50"]) == 2
    assert "--degrade and --protocol exclude each other" in capsys.readouterr().err
