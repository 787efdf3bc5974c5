"""Disks that are full, read-only or gone while results are written."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from support.disk import remount, small_disk
from support.photos import AS_THEY_ARE, write_photos
from workflow.conftest import Trained

from dfbench.config import write_toml
from dfbench.data.prepared import is_finished, load_prepared, write_frames, write_manifest
from dfbench.data.records import EncodedFaces
from dfbench.data.spec import parse_spec
from dfbench.errors import UserError
from dfbench.eval.scores import read_scores, write_scores
from dfbench.launch.render import JobFile, write_files
from dfbench.report.picture import save
from dfbench.results.store import SCORES, card_paths, read_card, read_cards, write_card
from dfbench.train.history import History
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.pages import leaderboard
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_one, prepare_spec
from dfbench.workflow.record import read_record, read_seen, write_record, write_seen
from dfbench.workflow.verify import verify

Write = Callable[[Trained, Path], Path]  # returns what it would have written


def _scores(trained: Trained, disk: Path) -> Path:
    table = read_scores(trained.across[1].with_name(SCORES))
    write_scores(table, disk / SCORES)
    return disk / SCORES


def _card(trained: Trained, disk: Path) -> Path:
    write_card(trained.across[0], disk / "x.card.json")
    return disk / "x.card.json"


def _record(trained: Trained, disk: Path) -> Path:
    write_record(disk, read_record(trained.folder))
    return disk / "training.json"


def _seen(trained: Trained, disk: Path) -> Path:
    write_seen(disk, read_seen(trained.folder))
    return disk / "trained_on.parquet"


def _config(trained: Trained, disk: Path) -> Path:
    write_toml(trained.config, disk / "config.toml")
    return disk / "config.toml"


def _history(trained: Trained, disk: Path) -> Path:
    for step in range(10_000):
        History(disk / "metrics.jsonl").append(step=step, loss=0.5)
    return disk / "metrics.jsonl"


def _manifest(trained: Trained, disk: Path) -> Path:
    (prepared,) = prepare_spec(trained.config.train, trained.config.data, trained.places)
    write_manifest(disk, prepared.manifest)
    return disk / "dfbench.json"


def _frames(trained: Trained, disk: Path) -> Path:
    (prepared,) = prepare_spec(trained.config.train, trained.config.data, trained.places)
    write_frames(disk, prepared.frames("train"))
    return disk / "frames.parquet"


def _picture(trained: Trained, disk: Path) -> Path:
    save(Figure(), disk / "curves.png")
    return disk / "curves.png"


def _job(trained: Trained, disk: Path) -> Path:
    try:
        write_files(disk, [JobFile("submit.sh", "#" * 10_000)])
    except UserError as error:  # it says so itself
        raise OSError(errno.ENOSPC, "", str(disk / "submit.sh")) from error
    return disk / "submit.sh"


WRITERS = [_scores, _card, _record, _seen, _config, _history, _manifest, _frames, _picture, _job]


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make a disk without a free byte."""
    with small_disk(tmp_path_factory.mktemp("full") / "disk", kilobytes=64) as disk:
        with contextlib.suppress(OSError), (disk / "filler").open("wb") as file:
            for _ in range(100):
                file.write(b"x" * 4096)
                file.flush()
        yield disk


@pytest.mark.parametrize("write", WRITERS, ids=lambda write: write.__name__)
def test_what_does_not_fit_is_named_and_nothing_is_left_of_it(
    trained: Trained, full: Path, write: Write
) -> None:
    with pytest.raises(OSError, match=r"No space|Errno 28") as caught:
        write(trained, full)
    assert caught.value.errno == errno.ENOSPC
    assert Path(caught.value.filename).parent == full
    left = {path.name: path.stat().st_size for path in full.iterdir() if path.name != "filler"}
    assert left in ({}, {"metrics.jsonl": 0})  # which grows by whole lines
    (full / "metrics.jsonl").unlink(missing_ok=True)


def test_pages_that_do_not_fit(trained: Trained, full: Path) -> None:
    with pytest.raises(UserError, match=rf"^{full}/.*: No space left on device; free some space"):
        leaderboard([trained.folder], full / "leaderboard")
    assert not [path for path in full.rglob("*") if path.is_file() and path.name != "filler"]


rename = Path.replace


@dataclasses.dataclass
class Faults:
    """Lets a number of files be renamed into their places, and refuses the next one."""

    code: int
    good: int
    places: list[Path] = dataclasses.field(default_factory=list)

    def replace(self, path: Path, target: Path) -> Path:
        self.places.append(Path(target))
        if len(self.places) > self.good:
            raise OSError(self.code, os.strerror(self.code), str(path))
        return rename(path, target)


@pytest.mark.parametrize(
    ("good", "refusal"), [(0, errno.ESTALE), (1, errno.EIO), (2, errno.EDQUOT)]
)
def test_an_evaluation_that_a_disk_breaks_off_is_made_again(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, good: int, refusal: int
) -> None:
    """The files are scores, val scores and the card, in this order."""
    shutil.copytree(trained.folder, tmp_path / trained.folder.name)
    places = dataclasses.replace(trained.places, runs_dir=tmp_path)
    folder = tmp_path / trained.folder.name
    spec, faults = trained.across[0].cell.eval, Faults(refusal, good)
    assert len(card_paths(folder)) == 2
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda path, target: faults.replace(path, target))
        with pytest.raises(UserError) as caught:
            evaluate(folder, spec, places, overwrite=True)
    wanted = faults.places[-1]
    assert len(faults.places) == good + 1
    assert str(caught.value).startswith(f"{wanted}: {os.strerror(refusal)}; ")
    assert "\n" not in str(caught.value)
    (other,) = read_cards([folder])  # those that are left agree with their scores
    assert other.card == trained.within[0]
    assert not [path for path in folder.rglob(".*") if path.is_file()]
    card, path = evaluate(folder, spec, places)
    assert card.metrics == trained.across[0].metrics
    assert [verdict.good for verdict in verify([path])] == [True]


def test_data_that_are_gone_are_named_and_not_the_results(
    trained: Trained, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(faces: EncodedFaces, record: bytes) -> tuple[bytes, ...]:
        raise RuntimeError("Reading failed: Stale file handle [reading record 7]")

    shutil.copytree(trained.folder, tmp_path / trained.folder.name)
    places = dataclasses.replace(trained.places, runs_dir=tmp_path)
    spec = trained.across[0].cell.eval
    (data,) = prepare_spec(spec, trained.config.data, places)
    with monkeypatch.context() as patch:
        patch.setattr(EncodedFaces, "_images", gone)
        with pytest.raises(UserError, match=rf"^{data.folder}: Stale file handle; look after"):
            evaluate(tmp_path / trained.folder.name, spec, places, overwrite=True)


def test_preparing_goes_on_when_there_is_room_again(tmp_path: Path) -> None:
    mine = write_photos(tmp_path / "mine", real=60, fake=60)
    (spec,) = parse_spec(f"folder:{mine}")
    with small_disk(tmp_path / "disk", kilobytes=200) as disk:
        places = Places(data_dir=disk, runs_dir=tmp_path, jobs=1)
        with pytest.raises(UserError, match=rf"^{disk}/.*: No space left on device; free some"):
            prepare_one(spec, AS_THEY_ARE, places)
        assert not [path for path in disk.rglob("dfbench.json") if is_finished(path.parent)]
        assert not list(disk.rglob(".lock*"))
        remount(disk, "size=8m")
        found = prepare_one(spec, AS_THEY_ARE, places)
        other = dataclasses.replace(places, data_dir=tmp_path / "roomy")
        roomy = prepare_one(spec, AS_THEY_ARE, other)
        assert found.manifest.crops_sha256 == roomy.manifest.crops_sha256
        remount(disk, "ro")
        assert prepare_one(spec, AS_THEY_ARE, places).manifest == found.manifest
        assert load_prepared(found.folder).manifest == found.manifest
        with pytest.raises(UserError, match=rf"^{disk}.*: Read-only file system; name another"):
            prepare_one(spec, dataclasses.replace(AS_THEY_ARE, crop_size=48), places)


@pytest.mark.skipif(os.geteuid() != 0, reason="root alone can give up its rights")
def test_a_folder_of_somebody_else(trained: Trained, tmp_path: Path) -> None:
    place = tmp_path / "theirs"
    place.mkdir(mode=0o755)
    os.seteuid(65534)
    try:
        with pytest.raises(PermissionError) as caught:
            write_card(trained.across[0], place / "x.card.json")
    finally:
        os.seteuid(0)
    assert caught.value.filename == str(place / "x.card.json")
    assert list(place.iterdir()) == []
    assert read_card(trained.across[1])
