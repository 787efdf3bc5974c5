from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from workflow.conftest import Trained

from dfbench import cli
from dfbench.data.clips import clip_table
from dfbench.errors import UserError
from dfbench.results.store import read_card
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.leaks import audit_run
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import SEEN, read_seen, write_seen

TAKEN = 3  # pictures of each class that were trained on, and are evaluated


@pytest.fixture(scope="module")
def leaking(trained: Trained, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A spec whose test clips are some pictures of the training, under other names, and others."""
    root = tmp_path_factory.mktemp("leak") / "theirs"
    datasets = prepare_spec(trained.config.train, trained.config.data, trained.places)
    seen = clip_table(datasets, ["train"]).to_pylist()
    mine = Path(trained.config.train.removeprefix("folder:"))
    yours = Path(trained.across[0].cell.eval.removeprefix("folder:"))
    for label, kind in enumerate(("real", "fake")):
        folder = root / "test" / kind
        folder.mkdir(parents=True)
        taken = [row["video"] for row in seen if row["label"] == label][:TAKEN]
        for number, video in enumerate(taken):
            shutil.copy(mine / video.removeprefix("folder:mine/"), folder / f"copy{number}.png")
        for file in sorted((yours / kind).rglob("*.png"))[:TAKEN]:
            shutil.copy(file, folder)
    return f"folder:{root}"


@pytest.fixture
def run(trained: Trained, tmp_path: Path) -> Path:
    """A copy of the run: that of the other tests keeps its two evaluations."""
    return shutil.copytree(trained.folder, tmp_path / trained.folder.name)


def test_test_clips_that_were_trained_on_are_refused(trained: Trained, leaking: str) -> None:
    message = r"6 of its 12 test clips are in the training data .*copy0\.png .*--allow-leak"
    with pytest.raises(UserError, match=message) as caught:
        evaluate(trained.folder, leaking, trained.places)
    assert "\n" not in str(caught.value)
    assert "folder:theirs/fake/test/copy0.png" in str(caught.value) or "real" in str(caught.value)


def test_an_allowed_leak_is_in_the_card(trained: Trained, run: Path, leaking: str) -> None:
    card, path = evaluate(run, leaking, trained.places, allow_leak=True)
    assert read_card(path) == card
    assert card.audit.allowed
    assert (card.audit.exact_duplicates, card.audit.clips) == (2 * TAKEN, 2 * TAKEN)
    assert (card.audit.shared_videos, card.audit.near_duplicates) == (0, 0)
    assert "the same bytes" in card.audit.note
    with pytest.raises(UserError, match="--allow-leak"):  # what was allowed once is asked again
        evaluate(run, leaking, trained.places)
    again, _ = evaluate(run, leaking, trained.places, allow_leak=True)
    assert again == card


def test_what_shares_nothing_is_not_allowed_but_clean(trained: Trained) -> None:
    for card, _ in (trained.within, trained.across):
        assert card.audit.clips == 0
        assert not card.audit.allowed
        assert card.audit.note == ""
    spec = trained.within[0].cell.eval
    card, _ = evaluate(trained.folder, spec, trained.places, allow_leak=True)
    assert card.audit == trained.within[0].audit


def test_a_run_is_refused_before_it_trains(
    trained: Trained, leaking: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        *("run", "--train", trained.config.train, "--eval", leaking, "--model", "meso4"),
        *("--runs-dir", str(tmp_path / "runs"), "--data-dir", str(trained.places.data_dir)),
        *("--set", "data.detector=none", "--set", "data.crop_size=32", "--jobs", "1"),
    ]
    assert cli.main(arguments) == 2
    assert "--allow-leak" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_eval_takes_the_option(
    trained: Trained, run: Path, leaking: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["eval", str(run), "--eval", leaking, "--jobs", "1"]
    arguments += ["--data-dir", str(trained.places.data_dir)]
    assert cli.main(arguments) == 2
    assert "--allow-leak" in capsys.readouterr().err
    assert cli.main([*arguments, "--allow-leak"]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "6 exact duplicates; 6 test clips; scored all the same, by --allow-leak" in printed


def test_the_run_folder_alone_knows_what_was_seen(trained: Trained, tmp_path: Path) -> None:
    datasets = prepare_spec(trained.config.train, trained.config.data, trained.places)
    assert read_seen(trained.folder).equals(clip_table(datasets, ("train", "val")))
    write_seen(tmp_path, clip_table(datasets, ("test",)))  # as if it had seen the test split
    train = trained.config.train
    audit = audit_run(tmp_path, train, train, datasets, allow_leak=True)
    clips = sum(c.clips for c in trained.within[0].coverage.values())
    assert (audit.shared_videos, audit.exact_duplicates, audit.clips) == (clips, clips, clips)
    with pytest.raises(UserError, match="in the training data"):
        audit_run(tmp_path, train, train, datasets)


def test_a_shared_identity_is_reported_but_no_leak(trained: Trained, tmp_path: Path) -> None:
    spec = trained.across[0].cell.eval
    datasets = prepare_spec(spec, trained.config.data, trained.places)
    clips = clip_table(datasets, ("test",))
    people = clips["identity"].to_pylist()
    assert people[0].startswith("folder:yours/person")
    one = clip_table(datasets, ("train",)).slice(0, 1)
    at = one.schema.get_field_index("identity")
    write_seen(tmp_path, one.set_column(at, one.schema.field(at), [people[:1]]))
    audit = audit_run(tmp_path, trained.config.train, spec, datasets)
    assert (audit.shared_videos, audit.shared_identities) == (0, 1)
    assert audit.clips == people.count(people[0])
    assert people[0] in audit.note


def test_an_older_list_of_clips_asks_for_a_training(trained: Trained, tmp_path: Path) -> None:
    datasets = prepare_spec(trained.config.train, trained.config.data, trained.places)
    with pytest.raises(UserError, match=f"{SEEN}.*train again with --overwrite"):
        audit_run(tmp_path, "a", "b", datasets)
    pq.write_table(read_seen(trained.folder).select(["video"]), tmp_path / SEEN)
    with pytest.raises(UserError, match=f"{SEEN}.*train again with --overwrite"):
        audit_run(tmp_path, "a", "b", datasets)
