"""Handed-in scores, from the file to the leaderboard."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.photos import AS_THEY_ARE, prepare_photos, write_photos
from workflow.conftest import Trained

from dfbench.cli import main
from dfbench.config import ScoringConfig
from dfbench.data.prepared import Prepared
from dfbench.data.roster import prepared_roster, raw_roster
from dfbench.data.spec import parse_spec
from dfbench.errors import UserError
from dfbench.eval.matching import Rules
from dfbench.eval.scores import read_scores
from dfbench.eval.submission import SubmissionError
from dfbench.progress import Reporter
from dfbench.results.card import ResultCard
from dfbench.results.store import hash_file, load_cards, read_card
from dfbench.workflow.pages import leaderboard
from dfbench.workflow.places import Places
from dfbench.workflow.score import HandedIn, score, write_template
from dfbench.workflow.verify import check

SETTINGS = ("--set", "data.detector=none", "--set", "data.crop_size=32", "--jobs", "1")


@dataclass(frozen=True)
class World:
    """Two prepared folders, one of which the detector was trained on."""

    places: Places
    mine: Prepared
    yours: Prepared
    train: str
    dataset: str

    def clips(self, split: str = "test", of: Prepared | None = None) -> list[Any]:
        return prepared_roster([of or self.yours]).of(split)  # type: ignore[arg-type]

    def handed(self, scores: Path, **options: Any) -> HandedIn:
        few = ScoringConfig(resamples=50)
        return replace(
            HandedIn(scores=scores, dataset=self.dataset, detector="theirs"),
            data=AS_THEY_ARE,
            scoring=few,
            **options,
        )


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("score")
    folders = [
        write_photos(root / "mine", real=60, fake=60),
        write_photos(root / "yours", real=60, fake=60, people=12, seed=1),
    ]
    for number in range(20):  # of these some fall into the test split, and give no crop
        (folders[1] / "fake" / f"broken{number}.mp4").write_bytes(b"")
    mine, yours = (prepare_photos(folder, root / "data") for folder in folders)
    places = Places(data_dir=root / "data", runs_dir=root / "runs", jobs=1)
    return World(places, mine, yours, f"folder:{folders[0]}", f"folder:{folders[1]}")


@pytest.fixture
def runs(world: World, tmp_path: Path) -> Places:
    return replace(world.places, runs_dir=tmp_path / "runs")


def write_csv(path: Path, rows: Iterable[tuple[object, ...]], header: str = "video,p_fake") -> Path:
    text = "".join(",".join(map(str, row)) + "\n" for row in rows)
    path.write_text(f"{header}\n{text}", encoding="utf-8")
    return path


def good(world: World, path: Path, split: str = "test", of: Prepared | None = None) -> Path:
    """Write scores that are mostly right."""
    rng = np.random.default_rng(0)
    clips = world.clips(split, of)
    return write_csv(
        path, [(c.key, round(0.5 * c.label + rng.uniform(0, 0.6), 3) / 1.1) for c in clips]
    )


def test_a_card_from_two_columns(world: World, runs: Places, tmp_path: Path) -> None:
    card, path = score(world.handed(good(world, tmp_path / "s.csv")), runs)
    assert read_card(path) == card
    assert (card.origin, card.role, card.training, card.audit) == ("scores", "unknown", None, None)
    assert (card.cell.model, card.cell.train, card.cell.eval) == ("theirs", "", world.dataset)
    assert (card.calibration, set(card.confusion)) == (None, {"fixed"})
    auc = card.metrics["video_auc"]
    assert auc.value is not None
    assert auc.low is not None
    assert 0.7 < auc.low <= auc.value <= 1
    clips = world.clips()
    assert auc.n == len(clips) == sum(c.clips for c in card.coverage.values())
    assert card.datasets.eval == (world.yours.fingerprint(),)
    assert card.files == {"scores": hash_file(path.with_name("scores.parquet"))}
    assert sorted(p.name for p in path.parent.iterdir()) == ["scores.parquet", path.name]
    assert path.is_relative_to(runs.runs_dir)
    table = read_scores(path.with_name("scores.parquet"))
    assert dict(zip(table.video.tolist(), table.label.tolist(), strict=True)) == {
        c.video: c.label for c in clips
    }
    verdict = check(path, runs.data_dir)
    assert verdict.good, verdict
    assert verdict.notes == ()


def test_the_leaderboard_takes_it(world: World, runs: Places, tmp_path: Path) -> None:
    handed = world.handed(good(world, tmp_path / "s.csv"), train=world.train)
    score(replace(handed, detector="<script>alert(1)</script>"), runs)
    score(replace(handed, detector="two", seed=1), runs)
    score(replace(handed, detector="two", seed=2), runs)
    assert len(load_cards([runs.runs_dir])) == 3
    pages = leaderboard([runs.runs_dir], tmp_path / "pages")
    text = next(page for page in pages if page.suffix == ".md").read_text(encoding="utf-8")
    assert "two" in text
    assert "<script>" not in text


def test_names_that_are_no_file_names_stay_apart(
    world: World, runs: Places, tmp_path: Path
) -> None:
    handed = world.handed(good(world, tmp_path / "s.csv"))
    names = ["../../up", "..", "a/b", "a b", "ä", "x" * 100]
    paths = {score(replace(handed, detector=name), runs)[1] for name in names}
    assert len({path.parent for path in paths}) == len(names)
    assert all(path.resolve().is_relative_to(runs.runs_dir.resolve()) for path in paths)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"detector": " "}, "--detector is empty"),
        ({"detector": "a\nb"}, "printable"),
        ({"detector": "x" * 101}, "at most 100"),
        ({"train": "x" * 101}, "--train .*at most 100"),
        ({"seed": -1}, "--seed -1"),
        ({"dataset": "celebdff"}, "unknown dataset 'celebdff'; did you mean 'celebdf'"),
        ({"dataset": "celebdf"}, "not prepared here: name its download by --raw DIR"),
        ({"dataset": "synth_swap", "raw": Path()}, "rendered, not downloaded; leave out --raw"),
        ({"dataset": "uadfv,celebdf", "raw": Path()}, "--raw is the folder of one dataset"),
    ],
)
def test_wrong_options_are_named(
    world: World, runs: Places, tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    handed = replace(world.handed(good(world, tmp_path / "s.csv")), **changes)
    with pytest.raises(UserError, match=message):
        score(handed, runs)
    assert not runs.runs_dir.exists()


def test_nothing_is_written_where_something_is_wrong(
    world: World, runs: Places, tmp_path: Path
) -> None:
    path = good(world, tmp_path / "s.csv")
    path.write_text(path.read_text() + "nowhere,0.5\n")
    with pytest.raises(SubmissionError, match=r"s\.csv: 1 problem; nothing was written"):
        score(world.handed(path), runs)
    assert not runs.runs_dir.exists()


def test_a_result_is_replaced_only_when_asked(world: World, runs: Places, tmp_path: Path) -> None:
    handed = world.handed(good(world, tmp_path / "s.csv"))
    val = good(world, tmp_path / "val.csv", "val", world.mine)
    first, path = score(replace(handed, train=world.train, val=val), runs)
    assert path.with_name("val_scores.parquet").is_file()
    with pytest.raises(UserError, match="there already; --overwrite"):
        score(replace(handed, train=world.train), runs)
    assert read_card(path) == first
    again, _ = score(replace(handed, train=world.train), runs, overwrite=True)
    assert again.calibration is None
    assert not path.with_name("val_scores.parquet").exists()
    assert check(path).good


def test_source_val_gives_threshold_and_temperature(
    world: World, runs: Places, tmp_path: Path
) -> None:
    handed = world.handed(good(world, tmp_path / "s.csv"), train=world.train)
    val = good(world, tmp_path / "val.csv", "val", world.mine)
    card, path = score(replace(handed, val=val), runs)
    assert card.calibration is not None
    assert card.calibration.videos == len(world.clips("val", world.mine))
    assert card.calibration.threshold is not None
    assert set(card.confusion) == {"fixed", "source_val"}
    assert card.role == "across"
    assert card.datasets.train == (world.mine.fingerprint(),)
    assert check(path, runs.data_dir).good
    table = read_scores(path.with_name("val_scores.parquet"))
    assert table.split.used() == ["val"]


def test_val_scores_of_data_that_are_not_here_bring_labels(
    world: World, runs: Places, tmp_path: Path
) -> None:
    rows = [(f"{c.key}", c.label, 0.2 + 0.5 * c.label) for c in world.clips("val", world.mine)]
    val = write_csv(tmp_path / "val.csv", rows, "video,label,p_fake")
    handed = world.handed(good(world, tmp_path / "s.csv"), train="my own photos", val=val)
    said: list[str] = []
    card, path = score(handed, runs, reporter=Reporter(say=said.append))
    assert any("taken as a description" in line for line in said)
    assert card.calibration is not None
    assert card.audit is None
    assert (card.datasets.train, card.role) == ((), "across")
    assert check(path).good


def test_scores_of_real_are_noticed(world: World, runs: Places, tmp_path: Path) -> None:
    def turned(path: Path) -> Path:
        head, *rows = path.read_text().splitlines()
        pairs = (row.split(",") for row in rows)
        return write_csv(path, [(video, 1 - float(p)) for video, p in pairs], head)

    handed = world.handed(turned(good(world, tmp_path / "s.csv")), train=world.train)
    card, _ = score(handed, runs)
    (warning,) = card.warnings
    assert "below 0.5 by more than chance" in warning
    auc = card.metrics["video_auc"].value
    assert auc is not None
    assert auc < 0.3  # as handed in: nothing is turned
    val = turned(good(world, tmp_path / "val.csv", "val", world.mine))
    with pytest.raises(
        UserError, match="on what the detector was trained on: these are scores of r"
    ):
        score(replace(handed, val=val), runs, overwrite=True)


def test_chance_is_no_reason_to_doubt(world: World, runs: Places, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    rows = [(c.key, round(rng.uniform(), 3)) for c in world.clips()]
    card, _ = score(world.handed(write_csv(tmp_path / "s.csv", rows)), runs)
    assert card.warnings == ()


@pytest.mark.parametrize(
    ("header", "value", "warning"),
    [
        ("video,p_fake", lambda c, u: int(u < 0.5), "all scores are 0 or 1"),
        ("video,logit", lambda c, u: round(u, 3), "all logits lie in \\[0, 1\\]"),
    ],
)
def test_what_looks_wrong_is_in_the_card(
    world: World,
    runs: Places,
    tmp_path: Path,
    header: str,
    value: Callable[[Any, float], float],
    warning: str,
) -> None:
    rng = np.random.default_rng(0)
    rows = [(c.key, value(c, rng.uniform())) for c in world.clips()]
    card, _ = score(world.handed(write_csv(tmp_path / "s.csv", rows, header)), runs)
    assert len(card.warnings) == 1
    assert re.search(warning, card.warnings[0])


def test_videos_without_a_score_count_in_coverage(
    world: World, runs: Places, tmp_path: Path
) -> None:
    clips = world.clips()
    kept = [c for c in clips if "broken" not in c.video]
    path = write_csv(tmp_path / "s.csv", [(c.key, 0.2 + 0.5 * c.label) for c in kept])
    with pytest.raises(SubmissionError):
        score(world.handed(path), runs)
    card, where = score(world.handed(path, rules=Rules(missing="undetected")), runs)
    fakes, broken = card.coverage["fake"], len(clips) - len(kept)
    assert broken > 0
    assert (fakes.clips - fakes.clips_with_crops, fakes.reasons) == (
        broken,
        {"no score handed in": broken},
    )
    assert card.metrics["video_auc"].n == len(kept)
    assert card.metrics["video_auc_all"].n == len(clips)
    assert card.metrics["video_auc"].value == 1
    assert card.metrics["video_auc_all"].value == 1  # 0.5 lies between 0.2 and 0.7
    assert any("of the fake" in line for line in card.warnings)
    listed = write_csv(
        tmp_path / "l.csv",
        [(c.key, *((-1, "") if "broken" in c.video else (0, 0.2 + 0.5 * c.label))) for c in clips],
        "video,frame,p_fake",
    )
    same, _ = score(world.handed(listed, detector="listed"), runs)
    assert same.metrics == card.metrics
    assert check(where).good


def test_overlap_with_the_training_data_is_looked_for(
    world: World, runs: Places, tmp_path: Path
) -> None:
    handed = world.handed(good(world, tmp_path / "s.csv"), train=world.train)
    card, _ = score(handed, runs)
    assert card.audit is not None
    assert (card.audit.shared_videos, card.audit.clips) == (0, 0)
    within, _ = score(replace(handed, train=world.dataset), runs)
    assert within.role == "within"
    leak = write_photos(tmp_path / "leak/test", real=60, fake=60)  # as `mine`, and all tested
    spec = f"folder:{leak.parent}"
    prepared = prepare_photos(leak.parent, runs.data_dir)
    rows = [(c.key, 0.2 + 0.5 * c.label) for c in world.clips(of=prepared)]
    leaking = replace(handed, scores=write_csv(tmp_path / "l.csv", rows), dataset=spec)
    with pytest.raises(UserError, match="test clips are in the training data"):
        score(leaking, runs)
    card, _ = score(leaking, runs, allow_leak=True)
    assert card.audit is not None
    assert card.audit.allowed
    assert card.audit.exact_duplicates > 0


def test_a_template_is_filled_in_and_scored(world: World, runs: Places, tmp_path: Path) -> None:
    out = tmp_path / "template.csv"
    count = write_template(world.dataset, out, runs, data=AS_THEY_ARE)
    head, *rows = out.read_text().splitlines()
    assert (head, len(rows)) == ("video,frame,p_fake", count)
    assert sum(row.endswith(",-1,") for row in rows) == len(world.yours.missed("test"))
    assert "label" not in head
    with pytest.raises(SubmissionError) as caught:  # as it is
        score(world.handed(out), runs)
    assert "without a score" in str(caught.value.faults[0])
    filled = [
        row if row.endswith(",-1,") else f"{row}{0.9 if '/fake/' in row else 0.1}" for row in rows
    ]
    out.write_text("\n".join((head, *filled)))
    card, _ = score(world.handed(out), runs)
    assert card.metrics["video_auc"].value == 1
    with pytest.raises(UserError, match="there already; name another file"):
        write_template(world.dataset, out, runs, data=AS_THEY_ARE)


def celebdf(root: Path) -> list[str]:
    """Write a download of Celeb-DF of five empty files, and its list; return what it names."""
    for name in ("Celeb-real/id0_0001", "YouTube-real/00003", "Celeb-synthesis/id0_id1_0001"):
        path = root / f"{name}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    real = ["Celeb-real/id0_0001", "YouTube-real/00003"]
    real += [f"Celeb-real/id2_{n:04}" for n in range(176)]
    fake = [
        "Celeb-synthesis/id0_id1_0001",
        *(f"Celeb-synthesis/id2_id3_{n:04}" for n in range(339)),
    ]
    lines = [*(f"1 {name}.mp4\n" for name in real), *(f"0 {name}.mp4\n" for name in fake)]
    (root / "List_of_testing_videos.txt").write_text("".join(lines))
    return [*real, *fake]


def test_a_download_is_listed_and_not_decoded(runs: Places, tmp_path: Path) -> None:
    names = celebdf(tmp_path / "raw")
    rows = [(f"/data/Celeb-DF-v2/{n}.mp4", 0.8 if "synthesis" in n else 0.3) for n in names]
    handed = HandedIn(
        scores=write_csv(tmp_path / "s.csv", rows),
        dataset="celebdf",
        detector="xception",
        train="ffpp/c23",  # not prepared here
        raw=tmp_path / "raw",
        scoring=ScoringConfig(resamples=20),
    )
    said: list[str] = []
    card, path = score(handed, runs, reporter=Reporter(say=said.append))
    assert any("cannot be compared: ffpp/c23 is not prepared here" in line for line in said)
    assert card.metrics["video_auc"].value == 1
    assert (card.coverage["real"].clips, card.coverage["fake"].clips) == (178, 340)
    assert card.audit is None
    (data,) = card.datasets.eval
    assert (data.name, data.recipe, data.crops_sha256) == ("celebdf", {}, "")
    assert data.counts["test/fake/Celeb-synthesis"].clips == 340
    assert check(path, runs.data_dir).good
    out = tmp_path / "template.csv"
    assert write_template("celebdf", out, runs, raw=tmp_path / "raw") == 518
    assert out.read_text().startswith(
        "video,path,p_fake\ncelebdf/Celeb-real/id0_0001,Celeb-real/id0_0001.mp4,\n"
    )


def test_a_listing_is_that_of_the_prepared_data(world: World) -> None:
    (spec,) = parse_spec(world.dataset)
    assert spec.path is not None
    raw, prepared = raw_roster(spec, spec.path), prepared_roster([world.yours])

    def values(clip: Any) -> tuple[object, ...]:
        return clip.dataset, clip.key, clip.split, clip.label, clip.manipulation

    assert sorted(map(values, raw.clips)) == sorted(map(values, prepared.clips))
    (one,), (other,) = raw.datasets, prepared.datasets
    assert (one.name, one.version, one.variant) == (other.name, other.version, other.variant)
    assert one.clips_sha256 == other.clips_sha256
    clips = {key: counts.clips for key, counts in other.counts.items()}
    assert {key: counts.clips for key, counts in one.counts.items()} == clips


def test_the_command_lists_what_is_wrong(
    world: World, runs: Places, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = good(world, tmp_path / "s.csv")
    arguments = [
        *("score", str(path), "--dataset", world.dataset, "--detector", "theirs"),
        *("--data-dir", str(runs.data_dir), "--runs-dir", str(runs.runs_dir), *SETTINGS),
        *("--set", "scoring.resamples=20"),
    ]
    text = path.read_text()
    path.write_text(text.replace("0.", "3.", 1) + "nowhere,0.5\n")
    assert main(arguments) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1] == f"dfbench: {path}: 2 problems; nothing was written"
    assert sum(line.startswith("  1 row with") for line in lines) == 2
    path.write_text(text)
    assert main(arguments) == 0
    out = capsys.readouterr().out
    assert "theirs (scores handed in), not known" in out
    (card,) = runs.runs_dir.rglob("*.card.json")
    assert f"card: {card}" in out
    assert main(["verify", str(runs.runs_dir), "--data-dir", str(runs.data_dir)]) == 0
    assert "1 card verified" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--dataset", "celebdf"], "the file of scores is missing"),
        (["s.csv", "--dataset", "celebdf"], "--detector NAME is missing"),
        (["s.csv", "--dataset", "celebdf", "--template", "t.csv"], "leave out s.csv"),
        (["s.csv", "--dataset", "celebdf", "--set", "optim.lr=1"], "only data.* and scoring.*"),
        (["s.csv", "--dataset", "celebdf", "--set", "scoring.resample=1"], "did you mean"),
        (["s.csv", "--dataset", "celebdf", "--protocol", "nope"], "no protocol file 'nope'"),
        (["s.csv", "--dataset", "uadfv", "--protocol", "demo"], "not in this protocol"),
    ],
)
def test_a_wrong_command_line(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["score", *arguments]) == 2
    assert message in capsys.readouterr().err


def test_scores_of_a_run_give_the_numbers_of_the_run(trained: Trained, tmp_path: Path) -> None:
    card, path = trained.across
    scoring = msgspec.convert(card.config["scoring"], ScoringConfig)
    handed = HandedIn(
        scores=path.with_name("scores.parquet"),
        dataset=card.cell.eval,
        detector="copy",
        train=card.cell.train,
        val=path.with_name("val_scores.parquet"),
        data=trained.config.data,
        scoring=scoring,
    )
    again, other = score(handed, replace(trained.places, runs_dir=tmp_path))
    for name in ("metrics", "breakdown", "confusion", "calibration", "audit", "role"):
        assert getattr(again, name) == getattr(card, name), name
    assert again.datasets == card.datasets
    for label, one in card.coverage.items():
        assert again.coverage[label].clips_with_crops == one.clips_with_crops
        assert again.coverage[label].clips == one.clips
    assert check(other, trained.places.data_dir).good


def test_no_accelerator_library_is_needed(world: World, runs: Places, tmp_path: Path) -> None:
    arguments = [
        *("score", str(good(world, tmp_path / "s.csv")), "--dataset", world.dataset),
        *("--detector", "theirs", "--train", world.train, "--set", "scoring.resamples=20"),
        *("--data-dir", str(runs.data_dir), "--runs-dir", str(runs.runs_dir), *SETTINGS),
    ]
    code = (
        "import json, sys\n"
        "from dfbench.cli import main\n"
        f"assert main(json.loads({json.dumps(arguments)!r})) == 0\n"
        "assert 'jax' not in sys.modules\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    (path,) = runs.runs_dir.rglob("*.card.json")
    card: ResultCard = read_card(path)
    assert card.environment.device_kind == ""
