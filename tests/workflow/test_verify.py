"""Cards against the files beside them: what is true passes, and whatever is changed is named."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from support.photos import AS_THEY_ARE, prepare_photos, write_photos
from workflow.conftest import Trained

from dfbench.cli import main
from dfbench.config import ScoringConfig
from dfbench.data.roster import prepared_roster
from dfbench.errors import UserError
from dfbench.eval.measure import Measured, measure
from dfbench.eval.scores import read_scores, write_scores
from dfbench.results.store import BESIDE, hash_file, read_card, write_card
from dfbench.train.checkpoint import BEST, LAST
from dfbench.workflow import verify as module
from dfbench.workflow.places import Places
from dfbench.workflow.score import HandedIn, score
from dfbench.workflow.verify import CHECKPOINT, Verdict, check, verdict_text, verify

V1 = Path(__file__).parents[1] / "results" / "v1"
Raw = dict[str, Any]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A card of handed-in scores with those of source val, and the prepared data."""
    root = tmp_path_factory.mktemp("verify")
    rng = np.random.default_rng(0)
    specs, files = [], []
    for number, split in enumerate(("test", "val")):
        folder = write_photos(root / f"photos{number}", real=100, fake=100, seed=number)
        prepared = prepare_photos(folder, root / "data")
        rows = ["video,frame,logit"]
        for clip in prepared_roster([prepared]).of(split):  # type: ignore[arg-type]
            rows += [
                f"{clip.key},{n},{2 * clip.label - 1 + 2.5 * rng.normal():.4f}" for n in range(3)
            ]
        rows[-1] = rows[-1].rpartition(",")[0] + ",-2.5"
        files.append(root / f"{split}.csv")
        files[-1].write_text("\n".join(rows))
        specs.append(f"folder:{folder}")
    handed = HandedIn(
        scores=files[0],
        dataset=specs[0],
        detector="theirs",
        train=specs[1],
        val=files[1],
        data=AS_THEY_ARE,
        scoring=ScoringConfig(resamples=30),
    )
    places = Places(data_dir=root / "data", runs_dir=root / "runs", jobs=1)
    _, path = score(handed, places)
    return path, root / "data"


def oracle(**changes: Any) -> Raw:
    return {"epoch": 1, "video_auc": 0.9, "gain": 0.0, "epochs": 1} | changes


@pytest.fixture
def card(source: tuple[Path, Path], tmp_path: Path) -> Path:
    """A copy that may be changed."""
    shutil.copytree(source[0].parent, tmp_path / "evals" / "x")
    return tmp_path / "evals" / "x" / source[0].name


def change(path: Path, edit: Callable[[Raw], object]) -> Verdict:
    raw = json.loads(path.read_text())
    edit(raw)
    path.write_text(json.dumps(raw))
    return check(path)


def fields(verdict: Verdict) -> list[str]:
    assert not verdict.good
    return [difference.field for difference in verdict.differences]


def leaves(value: Any, at: str = "") -> Iterator[tuple[str, list[str]]]:
    """Yield the path of every number, as text and as keys."""
    for key, inner in value.items():
        if isinstance(inner, dict):
            yield from ((f"{key}.{path}", [key, *keys]) for path, keys in leaves(inner))
        elif isinstance(inner, int | float) and not isinstance(inner, bool):
            yield str(key), [key]


def bumped(value: float) -> float:
    """Change the last digit."""
    return value + 1 if isinstance(value, int) else float(np.nextafter(value, np.inf))


def test_what_is_true_passes(source: tuple[Path, Path]) -> None:
    verdict = check(*source)
    assert verdict.good, verdict
    assert verdict.notes == ()
    assert verdict.numbers > 40
    assert verdict.videos == sum(c.clips for c in read_card(source[0]).coverage.values())
    assert verdict_text(verdict).startswith("ok      ")


def test_a_changed_last_digit_of_any_number_is_named(
    card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = functools.cache(lambda seed: measured(card))  # the scores stay, the card changes
    monkeypatch.setattr(module, "measure", lambda *_, seed: again(seed))
    raw = json.loads(card.read_text())
    parts = ("metrics", "breakdown", "confusion", "calibration", "coverage")
    paths = [found for part in parts for found in leaves({part: raw[part]})]
    assert len(paths) > 60
    for path, keys in paths:
        changed = json.loads(card.read_text())
        place = changed
        for key in keys[:-1]:
            place = place[key]
        place[keys[-1]] = bumped(place[keys[-1]])
        other = card.with_name("changed.card.json")
        other.write_text(json.dumps(changed))
        found = fields(check(other))
        assert path in found, (path, found)
        assert set(found) <= {path, "file name", *(f for f in found if f.startswith("coverage."))}


@pytest.mark.parametrize("key", list(BESIDE))
def test_one_changed_score_is_named(card: Path, key: str) -> None:
    path = card.with_name(BESIDE[key])
    table = read_scores(path)
    logit = table.logit.copy()
    logit[-1] += 4
    p = table.p_fake.copy()
    p[-1] = 1 / (1 + np.exp(-logit[-1]))
    write_scores(dataclasses.replace(table, logit=logit, p_fake=p), path)
    verdict = check(card)
    found = fields(verdict)
    assert f"files.{key}.sha256" in found
    numbers = [f for f in found if f.startswith(("metrics.", "calibration."))]
    assert numbers
    line = verdict_text(verdict).splitlines()[1]
    assert line.startswith(f'    files.{key}.sha256: the card says "')
    # and where the hash was changed too
    found = fields(
        change(card, lambda c: c["files"].update({key: msgspec.to_builtins(hash_file(path))}))
    )
    assert not any(f.startswith("files.") for f in found)
    assert found == numbers or set(numbers) <= set(found)


def test_a_changed_byte_that_changes_no_score_is_named(card: Path) -> None:
    path = card.with_name("scores.parquet")
    write_scores(read_scores(path).take(np.arange(len(read_scores(path)))[::-1]), path)
    assert {f.rpartition(".")[0] for f in fields(check(card))} == {"files.scores"}


@pytest.mark.parametrize("key", list(BESIDE))
def test_a_missing_file_or_a_link_is_named(card: Path, tmp_path: Path, key: str) -> None:
    path = card.with_name(BESIDE[key])
    elsewhere = path.rename(tmp_path / "elsewhere.parquet")
    found = check(card)
    assert f"files.{key}" in fields(found)
    assert f"as {BESIDE[key]}, there is nothing" in verdict_text(found)
    path.symlink_to(elsewhere)
    assert 'there is "a link"' in verdict_text(check(card))


def test_scores_of_val_that_the_card_does_not_speak_of(card: Path) -> None:
    found = fields(change(card, lambda c: c["files"].pop("val_scores")))
    assert "files.val_scores" in found
    assert "calibration" in found


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all", b"\x80\x04N."])
def test_scores_that_cannot_be_read(card: Path, content: bytes) -> None:
    card.with_name("scores.parquet").write_bytes(content)
    verdict = check(card)
    assert "files.scores" in fields(verdict)
    assert "scores.parquet cannot be read:" in verdict_text(verdict)
    assert all(line.isprintable() for line in verdict_text(verdict).splitlines())


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda c: c.update(role="within"), "role"),
        (lambda c: c["cell"].update(model="other"), "config.model"),
        (lambda c: c["cell"].update(seed=1), "config.seed"),
        (lambda c: c["cell"].update(train="uadfv"), "config.train"),
        (lambda c: c["cell"].update(eval="uadfv"), "config.eval"),
        (lambda c: c["cell"].update(eval="uadfv"), "file name"),
        (lambda c: c["config"].update(note=1), "config_hash"),
        (lambda c: c["config"]["scoring"].update(resamples=31), "config_hash"),
        (lambda c: c["config"]["scoring"].update(resamples=31), "metrics.video_auc.low"),
        (lambda c: c["config"]["scoring"].update(confidence=0.9), "metrics.video_auc.low"),
        (lambda c: c["config"].pop("model"), "config.model"),
        (lambda c: c["config"].update(model="theirs"), "config.model"),
        (lambda c: c.update(config_hash="0" * 12), "config_hash"),
        (lambda c: c.update(training_hash="0" * 12), "training_hash"),
        (lambda c: c.update(origin="run"), "training"),
        (lambda c: c["metrics"].pop("video_auc"), "metrics.video_auc"),
        (lambda c: c["metrics"].update(mine={"value": 1.0}), "metrics.mine"),
        (lambda c: c["metrics"]["video_auc"].update(value=None), "metrics.video_auc.value"),
        (lambda c: c["metrics"]["video_auc"].update(reason="so"), "metrics.video_auc.reason"),
        (lambda c: c["confusion"].pop("source_val"), "confusion.source_val"),
        (lambda c: c.update(calibration=None), "calibration"),
        (lambda c: c["datasets"]["eval"][0].update(name="folder:y"), "datasets.eval"),
        (lambda c: c["datasets"].update(eval=[]), "datasets.eval"),
        (
            lambda c: c["datasets"]["eval"][0]["counts"].pop("test/real/real"),
            "datasets.eval[0].counts.test/real/real",
        ),
        (
            lambda c: c["datasets"]["eval"][0]["counts"]["test/fake/fake"].update(clips=99),
            "datasets.eval[0].counts.test/fake/fake.clips",
        ),
        (
            lambda c: c["datasets"]["eval"][0]["counts"].update(
                {
                    "test/fake/Swap": dict.fromkeys(
                        ("clips", "clips_with_crops", "frames_wanted", "frames"), 1
                    )
                }
            ),
            "datasets.eval[0].counts.test/fake/Swap",
        ),
        (lambda c: c["coverage"]["real"].update(reasons={"lost": 1}), "coverage.real.reasons.lost"),
        (lambda c: c["coverage"].pop("real"), "coverage.real"),
        (lambda c: c.update(protocol="demo-1"), "cell.eval"),
        (lambda c: c.update(protocol="demo-1"), "config.scoring.resamples"),
        (lambda c: c.update(oracle=oracle(gain=0.5)), "oracle.gain"),
    ],
)
def test_what_contradicts_itself_is_named(card: Path, edit: Any, field: str) -> None:
    assert field in fields(change(card, edit))


def test_a_protocol_that_is_not_shipped_cannot_be_compared(card: Path) -> None:
    assert change(card, lambda c: c.update(protocol="demo-1 (changed)")).notes == ()
    verdict = change(card, lambda c: c.update(protocol="mine-7"))
    assert verdict.good
    assert verdict.notes == ("protocol mine-7 is none of the shipped ones",)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda c: c.pop("metrics"), "missing required field `metrics`"),
        (lambda c: c.update(schema_version=99), "schema_version 99 is unknown"),
        (lambda c: c["cell"].update(fold=1), r"field `$.cell.fold` is unknown"),
        (lambda c: c["config"].update(scoring="much"), "config.scoring: Expected `object`"),
        (lambda c: c["config"]["scoring"].update(resamples="many"), "resamples"),
        (lambda c: c["config"]["scoring"].update(resamples=10**9), "1000000000 resamples"),
    ],
)
def test_a_card_that_breaks_the_schema(card: Path, edit: Any, message: str) -> None:
    verdict = change(card, edit)
    assert message in verdict.error
    assert not verdict.good
    assert str(card) not in verdict.error
    assert verdict_text(verdict).startswith(f"FAILED  {card}: ")


def measured(card: Path) -> Measured:
    """Compute the numbers of the files beside a card."""
    tables = [read_scores(card.with_name(name)) for name in BESIDE.values()]
    one = read_card(card)
    scoring = msgspec.convert(one.config["scoring"], ScoringConfig)
    return measure(*tables, scoring, seed=one.cell.seed)


def forged(card: Path, **columns: Any) -> None:
    """Change the scores and everything that is computed from them, as a forger would."""
    path = card.with_name("scores.parquet")
    write_scores(dataclasses.replace(read_scores(path), **columns), path)
    one, again = read_card(card), measured(card)
    numbers = {f.name: getattr(again, f.name) for f in dataclasses.fields(again)}
    files = one.files | {"scores": hash_file(path)}
    write_card(dataclasses.replace(one, files=files, **numbers), card)


def test_forged_labels_are_found_where_the_data_are_here(
    source: tuple[Path, Path], card: Path
) -> None:
    table = read_scores(card.with_name("scores.parquet"))
    names = np.array(table.video.tolist())
    fake = names[(table.label == 1) & (table.p_fake < 0.6)][0]
    real = names[(table.label == 0) & (table.p_fake > 0.4)][0]
    label = table.label.copy()
    label[names == fake], label[names == real] = 0, 1
    forged(card, label=label)
    assert read_card(card).metrics["video_auc"] != read_card(source[0]).metrics["video_auc"]
    found = fields(check(card, source[1]))
    assert sorted(f for f in found if f.startswith("scores.")) == sorted(
        [f"scores.{fake}.label", f"scores.{real}.label"]
    )


@pytest.mark.parametrize(
    ("edit", "field"),
    [
        (lambda d: d.update(version="9.9.9"), "version"),
        (lambda d: d["recipe"].update(margin=2.0), "recipe.margin"),
        (lambda d: d.update(clips_sha256="0" * 64), "clips_sha256"),
        (
            lambda d: d["counts"]["train/real/real"].update(frames=1),
            "counts.train/real/real.frames",
        ),
    ],
)
def test_what_is_said_of_crops_that_are_here(
    source: tuple[Path, Path], card: Path, edit: Any, field: str
) -> None:
    assert change(card, lambda c: edit(c["datasets"]["eval"][0])).good
    assert fields(check(card, source[1])) == [f"datasets.eval[0].{field}"]


def test_the_same_crops_by_other_recipes_are_no_fault_of_the_card(
    source: tuple[Path, Path], card: Path, tmp_path: Path
) -> None:
    """Of an image there is one frame, however many are wanted."""
    data_dir = shutil.copytree(source[1], tmp_path / "data")
    for frames in (1, 2, 3):
        data = dataclasses.replace(AS_THEY_ARE, frames=frames)
        prepare_photos(source[1].parent / "photos0", data_dir, data)
    verdict = check(card, data_dir)
    assert verdict.good, verdict
    change(card, lambda c: c["datasets"]["eval"][0]["recipe"].update(margin=2.0))
    assert not check(card, data_dir).good


def test_other_data_on_this_machine_are_no_fault_of_the_card(
    source: tuple[Path, Path], card: Path
) -> None:
    verdict = change(card, lambda c: c["datasets"]["eval"][0].update(crops_sha256="0" * 64))
    assert verdict.good
    verdict = check(card, source[1])
    assert verdict.good
    assert "has other crops on this machine" in verdict.notes[0]
    change(card, lambda c: c["datasets"]["eval"][0].update(clips_sha256="0" * 64))
    verdict = check(card, source[1])
    assert verdict.good
    assert "is prepared here from other clips" in verdict.notes[0]


@pytest.mark.parametrize("name", ["../../..", "/", "folder", "", ".", "folder:../.."])
def test_names_in_a_card_lead_nowhere(source: tuple[Path, Path], card: Path, name: str) -> None:
    def edit(raw: Raw) -> None:
        raw["datasets"]["eval"][0].update(name=name, version="../..", variant=name)
        raw["files"]["../../secret"] = raw["files"]["scores"]

    change(card, edit)
    verdict = check(card, source[1])
    assert set(fields(verdict)) >= {"datasets.eval"}
    assert verdict.notes == ()


def everything(value: Any, keys: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the keys of everything in a card."""
    inner = enumerate(value) if isinstance(value, list) else value.items()
    for key, one in inner:
        yield (*keys, key)
        if isinstance(one, dict | list):
            yield from everything(one, (*keys, key))


HOSTILE: dict[type, tuple[Any, ...]] = {
    str: ("", "../../x", "\x1b[31m\nok", "/"),
    int: (-1, 2**62),
    float: (-1.0, 1e300),
    dict: ({}, {"../x": 1}, {"": {"": ""}}),
    list: ([], [[]]),
    bool: (True,),
    type(None): (0,),
}


@pytest.mark.slow
def test_no_value_in_a_card_breaks_the_check(
    source: tuple[Path, Path], card: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = measured(card)
    monkeypatch.setattr(module, "measure", lambda *_, **__: again)
    raw = json.loads(card.read_text())
    raw["protocol"] = "demo-1"
    raw["oracle"] = oracle()
    places = [keys for keys in everything(raw) if keys[0] not in ("metrics", "breakdown")]
    for number, keys in enumerate(places):
        changed = json.loads(json.dumps(raw))
        place = functools.reduce(lambda inner, key: inner[key], keys[:-1], changed)
        values = HOSTILE[type(place[keys[-1]])]
        place[keys[-1]] = values[number % len(values)]
        card.write_text(json.dumps(changed))
        verdict = check(card, source[1])
        assert not verdict.good
        assert all(line.isprintable() for line in verdict_text(verdict).splitlines())


def test_rounding_elsewhere_is_no_difference(card: Path) -> None:
    def elsewhere(raw: Raw) -> None:
        raw["environment"]["packages"]["numpy"] = "1.0"
        raw["metrics"]["video_auc"]["value"] += 1e-13
        raw["calibration"]["temperature"] *= 1 + 1e-12

    verdict = change(card, elsewhere)
    assert verdict.good
    assert verdict.notes[0].startswith("2 numbers differ by less than 1e-09 (numpy 1.0 there, ")
    value = "metrics.video_auc.value"
    found = change(card, lambda c: c["metrics"]["video_auc"].update(value=0.123456))
    assert fields(found) == [value]
    assert (
        "intervals may depend on versions" in found.notes[0] or "numbers differ" in found.notes[0]
    )


def test_a_card_of_version_1_is_checked_as_far_as_it_goes(tmp_path: Path) -> None:
    verdict = check(next(V1.glob("*.card.json")))
    assert verdict.good, verdict
    shutil.copytree(V1, tmp_path / "v1")
    (path,) = (tmp_path / "v1").glob("*.card.json")
    found = fields(change(path, lambda c: c["metrics"]["video_ap"].update(value=0.5, low=0.4)))
    assert found == ["metrics.video_ap.value"]  # its interval was drawn in another way


def test_folders_and_many_cards(source: tuple[Path, Path], card: Path, tmp_path: Path) -> None:
    (tmp_path / ".hidden.card.json").write_text("{")
    other = tmp_path / "other" / card.name
    shutil.copytree(card.parent, other.parent)
    change(other, lambda c: c.update(role="within"))
    verdicts = verify([tmp_path, card])
    assert {v.path: v.good for v in verdicts} == {card: True, other: False}
    with pytest.raises(UserError, match="no such file or folder"):
        verify([tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="no result card"):
        verify([tmp_path / "empty"])


def test_the_command(
    source: tuple[Path, Path], card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ("--data-dir", str(source[1]))
    assert main(["verify", str(card.parent), *data]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"ok      {card}: ")
    assert out.endswith("1 card verified\n")
    assert main(["verify", str(card), *data, "--json"]) == 0
    (value,) = json.loads(capsys.readouterr().out)
    assert (value["good"], value["differences"]) == (True, [])
    change(card, lambda c: c["metrics"]["video_auc"].update(value=0.8312))
    assert main(["verify", str(card), *data]) == 2
    captured = capsys.readouterr()
    assert "    metrics.video_auc.value: the card says 0.8312, the scores give 0." in captured.out
    assert captured.err.endswith("dfbench: 1 of 1 cards are not what their files say\n")
    assert main(["verify", str(card), *data, "--json"]) == 2
    (value,) = json.loads(capsys.readouterr().out)
    assert value["differences"][0]["field"] == "metrics.video_auc.value"
    assert value["differences"][0]["card"] == 0.8312


def test_hostile_text_does_not_reach_the_terminal(card: Path) -> None:
    verdict = change(card, lambda c: c["cell"].update(model="\x1b[31m\nok      all: fine"))
    text = verdict_text(verdict)
    assert all(line.isprintable() for line in text.splitlines())
    assert not any(line.startswith("ok") for line in text.splitlines())


def test_a_run_is_checked_with_its_checkpoint_and_record(trained: Trained, tmp_path: Path) -> None:
    run = tmp_path / trained.folder.name
    shutil.copytree(trained.folder, run)
    paths = [run / path.relative_to(trained.folder) for _, path in (trained.within, trained.across)]
    verdicts = verify([run], trained.places.data_dir)
    assert sorted(v.path for v in verdicts) == sorted(paths)
    assert all(v.good and not v.notes for v in verdicts), verdicts
    record = run / "training.json"
    raw = json.loads(record.read_text())
    raw["summary"]["epochs"] += 1
    record.write_text(json.dumps(raw))
    assert fields(check(paths[0])) == ["training.epochs"]
    record.write_text("{")
    assert fields(check(paths[0])) == ["training"]
    record.unlink()  # sent without it
    file = max((run / CHECKPOINT).rglob("*"), key=lambda p: p.stat().st_size if p.is_file() else 0)
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    assert fields(check(paths[0])) == ["files.checkpoint.sha256"]
    shutil.rmtree(run / "checkpoints")
    assert check(paths[0]).good
    verdict = change(paths[0], lambda c: c["audit"].update(shared_identities=1))
    assert verdict.good  # without the data nobody knows
    assert fields(check(paths[0], trained.places.data_dir)) == ["audit.shared_identities"]
    assert "coverage.fake.reasons" in fields(
        change(paths[1], lambda c: c["coverage"]["fake"].update(reasons={}))
    )


def test_where_the_checkpoint_lies() -> None:
    assert Path("checkpoints") / BEST == CHECKPOINT
    assert BEST != LAST
