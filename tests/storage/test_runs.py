"""Data, trainings and evaluations of several machines that share a bucket."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from storage.conftest import S3
from support.photos import write_photos
from support.s3 import Fault, Request
from support.train import small_models

from dfbench import cli
from dfbench.config import DataConfig, ModelConfig, RunConfig, ScoringConfig, TrainingConfig
from dfbench.data.prepare import prepare
from dfbench.data.spec import parse_spec
from dfbench.errors import UserError
from dfbench.progress import Reporter
from dfbench.results.store import read_card
from dfbench.storage import remote
from dfbench.storage.mirror import Mirror
from dfbench.storage.stage import Stage
from dfbench.storage.url import Url
from dfbench.train import checkpoint
from dfbench.train.history import read_history
from dfbench.workflow.copies import copy_cards
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import RECORD, read_record
from dfbench.workflow.training import train
from dfbench.workflow.verify import verify

EPOCHS = 3


@dataclass(frozen=True)
class Machine:
    """A machine of its own, with what was said there."""

    places: Places
    said: list[str]

    @property
    def reporter(self) -> Reporter:
        return Reporter(say=self.said.append)

    @property
    def runs(self) -> Mirror:
        assert self.places.runs_mirror is not None
        return self.places.runs_mirror


def machine(url: str, home: Path) -> Machine:
    data = Mirror(Url(f"{url}/data"), Stage(home / "data"))
    runs = Mirror(Url(f"{url}/runs"), Stage(home / "runs"))
    places = Places(
        data_dir=data.stage.files,
        runs_dir=runs.stage.files,
        jobs=1,
        data_mirror=data,
        runs_mirror=runs,
    )
    return Machine(places, [])


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunConfig]:
    photos = write_photos(tmp_path_factory.mktemp("photos") / "mine", real=60, fake=60)
    with small_models():
        yield RunConfig(
            train=f"folder:{photos}",
            model=ModelConfig(name="tiny", dropout=0.0),
            data=DataConfig(detector="none", crop_size=32),
            training=TrainingConfig(epochs=EPOCHS, batch_size=8, patience=0),
            scoring=ScoringConfig(batch_size=16, resamples=20),
        )


class KilledError(Exception):
    pass


def test_a_training_that_is_killed_goes_on_elsewhere_and_is_used_by_all(
    s3: str, config: RunConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: S3
) -> None:
    one, two, three = (machine(s3, tmp_path / name) for name in ("one", "two", "three"))

    # The first machine dies while it sends the checkpoint of its second epoch.
    pushes: list[str] = []

    write = remote.Remote.write

    def dying(self: remote.Remote, name: str, data: bytes) -> None:
        if name.endswith("/.dfbench-files.json") and "runs" in str(self.url):
            pushes.append(name)
            if len(pushes) == 2:
                raise KilledError
        write(self, name, data)

    with monkeypatch.context() as patched:
        patched.setattr(remote.Remote, "write", dying)
        with pytest.raises(KilledError):
            train(config, one.places, reporter=one.reporter)
    (left,) = one.places.runs_dir.iterdir()
    begun = read_history(left / "metrics.jsonl")

    with pytest.raises(UserError, match="holds an unfinished training: --resume goes on"):
        train(config, two.places, reporter=two.reporter)
    run = train(config, two.places, resume=True, reporter=two.reporter)
    assert read_record(run).summary.epochs == EPOCHS
    rows = read_history(run / "metrics.jsonl")
    first_epoch = [row for row in rows if row["epoch"] == 1]
    assert first_epoch == [row for row in begun if row["epoch"] == 1]  # with its speeds
    assert [row["epoch"] for row in rows if "val_loss" in row] == [1, 2, 3]
    card, path = evaluate(run, config.train, two.places, reporter=two.reporter)

    server.flaky.follow(lambda asked: None)
    again = train(config, three.places, reporter=three.reporter)
    same, there = evaluate(again, config.train, three.places, reporter=three.reporter)
    assert same == card
    assert there.read_bytes() == path.read_bytes()
    assert f"reusing the finished training {again}" in three.said
    assert any(line.startswith("reusing the scores") for line in three.said)
    assert not (again / "checkpoints").exists()  # nobody needed them
    assert not any(asked.method == "PUT" for asked in server.flaky.seen)

    # The network itself comes when something is to be scored with it.
    scored, _ = evaluate(again, config.train, three.places, overwrite=True)
    assert scored.metrics == card.metrics
    assert checkpoint.exists(again, checkpoint.BEST)
    assert not checkpoint.exists(again, checkpoint.LAST)

    # The first machine is back: it was overtaken.
    late = train(config, one.places, reporter=one.reporter)
    assert late == left
    assert (late / RECORD).read_bytes() == (run / RECORD).read_bytes()

    check_copies(s3, three.places, tmp_path)


def check_copies(s3: str, places: Places, tmp_path: Path) -> None:
    """Cards that are copied to be read are those that were made."""
    copy = copy_cards(Url(f"{s3}/runs"), runs=True)
    (own,) = places.runs_dir.rglob("*.card.json")
    name = own.relative_to(places.runs_dir)
    assert (copy / name).read_bytes() == own.read_bytes()
    local, copied = verify([own]), verify([copy])
    assert copied[0].good
    assert dataclasses.replace(copied[0], path=own) == local[0]
    # Another tool has put the folder there, without lists.
    url = Url(f"{s3}/synced")
    other = remote.Remote(url)
    for path in copy.rglob("*"):
        if path.is_file():
            other.put(path, path.relative_to(copy).as_posix())
    assert verify([copy_cards(url, runs=True)])[0].good
    other.delete(name.as_posix())
    with pytest.raises(UserError, match="no result card"):
        copy_cards(url)
    single = copy_cards(Url(f"{s3}/runs/{name.as_posix()}"))
    assert read_card(single) == read_card(own)


def test_a_dataset_is_prepared_once_for_all(
    s3: str, config: RunConfig, tmp_path: Path, server: S3
) -> None:
    one, two = machine(s3, tmp_path / "one"), machine(s3, tmp_path / "two")
    (made,) = prepare_spec(config.train, config.data, one.places, one.reporter)
    (found,) = prepare_spec(config.train, config.data, two.places, two.reporter)
    assert any(line.startswith("preparing") for line in one.said)
    assert two.said == [f"reusing prepared {config.train} ({found.folder})"]
    files = {p.name: p.read_bytes() for p in made.folder.iterdir()}
    assert {p.name: p.read_bytes() for p in found.folder.iterdir()} == files

    # What another recipe would need is not there.
    other = dataclasses.replace(config.data, crop_size=40)
    (spec,) = parse_spec(config.train)
    assert one.places.data_mirror is not None
    prepare(spec, other, data_dir=two.places.data_dir, mirror=two.places.data_mirror, jobs=1)
    assert len(one.places.data_mirror.units()) == 1  # that function sends nothing


def test_data_that_were_not_sent_to_their_end_are_sent_by_the_next_call(
    s3: str, config: RunConfig, tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machine(s3, tmp_path / "one"), machine(s3, tmp_path / "two")
    monkeypatch.setattr(remote, "TRIES", 2)

    def no_records(asked: Request) -> Fault | None:
        return Fault(status=503) if asked.method == "PUT" and "array_record" in asked.path else None

    server.flaky.follow(no_records)
    with pytest.raises(UserError, match=r"s3://.*array_record.*: .*\(tried 2 times\)"):
        prepare_spec(config.train, config.data, one.places)
    assert two.places.data_mirror is not None
    assert two.places.data_mirror.units() == []
    server.flaky.follow(lambda asked: None)
    prepare_spec(config.train, config.data, one.places)
    assert len(two.places.data_mirror.units()) == 1
    prepare_spec(config.train, config.data, two.places, two.reporter)
    assert two.said[0].startswith("reusing prepared")


def test_what_was_made_without_a_url_is_uploaded(
    s3: str, config: RunConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    local = Places(data_dir=tmp_path / "local", runs_dir=tmp_path / "runs", jobs=1)
    prepare_spec(config.train, config.data, local)
    command = ["upload", str(local.data_dir), f"{s3}/data"]
    for sent in (1, 0):
        assert cli.main(command) == 0
        assert f"1 folders with data or results, {sent} of them sent" in capsys.readouterr().out
    two = machine(s3, tmp_path / "two")
    prepare_spec(config.train, config.data, two.places, two.reporter)
    assert two.said[0].startswith("reusing prepared")
    for folder, url, message in (
        (tmp_path / "none", s3, "no such folder"),
        (Path(config.train.removeprefix("folder:")), s3, "no prepared dataset"),
        (tmp_path, "elsewhere", "has to be a URL"),
    ):
        assert cli.main(["upload", str(folder), url]) == 2
        assert message in capsys.readouterr().err


@pytest.mark.slow
def test_an_outage_does_not_end_a_training(
    s3: str, config: RunConfig, tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "TRIES", 2)
    one, two = machine(s3, tmp_path / "one"), machine(s3, tmp_path / "two")

    def no_checkpoints(asked: Request) -> Fault | None:
        return (
            Fault(status=503) if "/.unfinished/" in asked.path and asked.method == "PUT" else None
        )

    server.flaky.follow(no_checkpoints)
    run = train(dataclasses.replace(config, seed=7), one.places, reporter=one.reporter)
    warnings = [line for line in one.said if line.startswith("warning: s3://")]
    assert len(warnings) == EPOCHS
    assert all("the training goes on" in line for line in warnings)
    found = train(dataclasses.replace(config, seed=7), two.places)
    assert (found / RECORD).read_bytes() == (run / RECORD).read_bytes()


@pytest.mark.slow
def test_a_result_that_cannot_be_sent_is_kept_and_sent_later(
    s3: str, config: RunConfig, tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "TRIES", 2)
    one, two = machine(s3, tmp_path / "one"), machine(s3, tmp_path / "two")
    one_epoch = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=1))
    run = train(one_epoch, one.places)

    def no_cards(asked: Request) -> Fault | None:
        return Fault(status=500) if asked.method == "PUT" and "/evals/" in asked.path else None

    server.flaky.follow(no_cards)
    with pytest.raises(UserError, match=r"tried 2 times.*what was made is kept in") as info:
        evaluate(run, config.train, one.places)
    assert str(one.runs.stage.home) in str(info.value)
    with pytest.raises(UserError, match="no result card"):
        copy_cards(Url(f"{s3}/runs"))
    server.flaky.follow(lambda asked: None)
    evaluate(run, config.train, one.places, reporter=one.reporter)
    assert one.said[-1].startswith("reusing the scores")
    assert list(copy_cards(Url(f"{s3}/runs")).rglob("*.card.json"))
    assert two.runs.units()


@pytest.mark.slow
def test_overwriting_starts_again_there_too(s3: str, config: RunConfig, tmp_path: Path) -> None:
    one, two = machine(s3, tmp_path / "one"), machine(s3, tmp_path / "two")
    one_epoch = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=1))
    run = train(one_epoch, one.places)
    evaluate(run, config.train, one.places)
    assert len(two.runs.units()) == 2
    again = train(one_epoch, two.places, overwrite=True)
    assert two.runs.units() == [again.name]
    evaluate(again, config.train, two.places)
    late = train(one_epoch, one.places)
    assert (late / RECORD).read_bytes() == (again / RECORD).read_bytes()
