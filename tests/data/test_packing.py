"""The split by crops: what it draws, what is written of it, and that an audit finds its leak."""

from __future__ import annotations

import dataclasses
import pwd
from pathlib import Path

import numpy as np
import pytest
from support.photos import AS_THEY_ARE, prepare_photos, write_photos
from support.raw import MINIATURES, Pool
from tensorflow_datasets.core import shuffle

from dfbench.config import DataConfig, from_dict
from dfbench.data import packing
from dfbench.data.audit import find_overlap
from dfbench.data.clips import clip_table
from dfbench.data.crop_reader import CropReader
from dfbench.data.packing import Pack, count_packs, files_of, missed_clips, split_crops
from dfbench.data.prepare import prepare
from dfbench.data.records import EncodedFaces
from dfbench.data.spec import parse_spec
from dfbench.data.view import split_view
from dfbench.errors import UserError
from dfbench.faces.clip import SPLITS, Clip
from dfbench.faces.hashing import content_hash

SHARES = (0.5, 0.2, 0.3)


FRAMES = 40  # of a clip; every second frame gave a crop


def pack(number: int, frames: int = FRAMES) -> Pack:
    clip = Clip(path=Path("x"), label=0, split="train", video=f"real/{number}", manipulation="real")
    misses = tuple((f, "no face found") for f in range(1, 8, 2)) if frames else ()
    return Pack(
        clip=clip,
        wanted=frames + 4,
        misses=misses,
        reason="" if frames else "?",
        shard=Path("x"),
        crops=range(frames),
        row=number * frames,
        size=frames * 100,
    )


def frames_of(packs: int) -> np.ndarray:
    return np.tile(np.arange(0, 2 * FRAMES, 2), packs)


def test_every_frame_is_in_one_split_by_the_shares() -> None:
    packs = [pack(number) for number in range(50)]
    drawn = split_crops(packs, frames_of(50), SHARES)
    for one in packs:
        parts = [p for p in drawn if p.clip.video == one.clip.video]
        assert len({p.clip.split for p in parts}) == len(parts)
        assert sorted(c for p in parts for c in p.crops) == list(one.crops)
        assert {p.row for p in parts} == {one.row}
        assert sum(p.wanted for p in parts) == one.wanted
        assert sum(len(p.misses) for p in parts) == len(one.misses)
        assert sum(p.size for p in parts) == one.size
    counts = count_packs(drawn)
    shares = [counts[f"{split}/real/real"].frames / 2000 for split in SPLITS]
    np.testing.assert_allclose(shares, SHARES, atol=0.04)
    again = split_crops(list(reversed(packs)), frames_of(50), SHARES)  # the order draws nothing
    assert set(again) == set(drawn)


def test_a_clip_without_a_crop_is_counted_once() -> None:
    packs = [pack(number, frames=0) for number in range(200)]
    drawn = split_crops(packs, np.zeros(0, np.int32), SHARES)
    missed = missed_clips(drawn)
    assert len(missed) == 200
    assert {m.split for m in missed} == set(SPLITS)


def test_files_follow_the_clips_and_are_of_one_size(monkeypatch: pytest.MonkeyPatch) -> None:
    packs = [pack(number) for number in range(50)]  # 4,000 bytes each
    assert files_of(packs) == [packs]
    assert files_of([pack(0, frames=0)]) == [[pack(0, frames=0)]]
    monkeypatch.setattr(packing, "FILE_BYTES", 20_000)
    files = files_of(packs)
    assert [one for file in files for one in file] == packs
    assert [len(file) for file in files] == [5] * 10
    monkeypatch.setattr(packing, "FILE_BYTES", 1_000)  # a clip is in one file
    assert files_of(packs) == [[one] for one in packs]


def test_large_splits_are_written_in_files_without_tensorflow(
    raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Past a gigabyte TFDS sorted a split with TensorFlow, which is not installed."""
    (spec,) = parse_spec("uadfv")
    data = DataConfig(detector="none", frames=4, crop_size=32)
    one = prepare(spec, data, data_dir=tmp_path / "one", raw=raw, jobs=1)
    monkeypatch.setattr(shuffle, "MAX_MEM_BUFFER_SIZE", 1000)
    monkeypatch.setattr(packing, "FILE_BYTES", 8_000)
    monkeypatch.setattr(packing, "_CHUNK", 7)
    several = prepare(spec, data, data_dir=tmp_path / "several", raw=raw, jobs=1)
    assert len(list(one.folder.glob("*train.array_record*"))) == 1
    assert len(list(several.folder.glob("*train.array_record*"))) > 2
    assert several.fingerprint() == one.fingerprint()
    for split in ("train", "test"):
        tables = [prepared.frames(split) for prepared in (one, several)]
        assert tables[0].equals(tables[1])
        views = [split_view([prepared], split) for prepared in (one, several)]
        readers = [CropReader(view) for view in views]
        for row in range(len(views[0])):
            images = [reader.image(row) for reader in readers]
            np.testing.assert_array_equal(images[0], images[1])


@pytest.fixture(scope="module")
def raw(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a miniature of UADFV."""
    root = tmp_path_factory.mktemp("uadfv")
    MINIATURES["uadfv"](root, pool)
    return root


def test_a_dataset_split_by_crops(raw: Path, tmp_path: Path) -> None:
    (spec,) = parse_spec("uadfv")
    data = DataConfig(detector="none", frames=4, crop_size=32, split_shares=SHARES)
    whole = prepare(spec, data, data_dir=tmp_path, raw=raw, jobs=1)
    shuffled = dataclasses.replace(data, split_by="crop")
    crops = prepare(spec, shuffled, data_dir=tmp_path, raw=raw, jobs=1)
    assert crops.folder != whole.folder
    assert crops.fingerprint().recipe["split_by"] == "crop"
    assert "split_by" not in whole.fingerprint().recipe  # as cards of before have it
    assert crops.fingerprint().clips_sha256 != whole.fingerprint().clips_sha256
    sizes = {split: len(crops.frames(split)) for split in SPLITS}
    assert sum(sizes.values()) == sum(len(whole.frames(split)) for split in SPLITS)
    assert sum(sizes.values()) > 40
    for split in SPLITS:
        assert sizes[split] == sum(c.frames for c in crops.coverage(split).values())
        view = split_view([crops], split)
        faces, hashes = EncodedFaces(crops.folder, split), view.numbers("content")
        positions = view.numbers("position")
        for row in (0, len(view) - 1):  # records and table have one order
            assert content_hash(faces.face(int(positions[row]))) == hashes[row]
        assert len(set(hashes.tolist())) == len(hashes)
    leaks = find_overlap(clip_table([crops], ("train", "val")), clip_table([crops], ("test",)))
    assert leaks.leaked > 0
    assert leaks.of("videos").clips > leaks.eval_clips / 2
    clean = find_overlap(clip_table([whole], ("train", "val")), clip_table([whole], ("test",)))
    assert clean.leaked == 0


def test_a_user_without_a_name(raw: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As containers have one: TFDS and etils look its name up to learn a file's size."""

    def unknown(user: int) -> None:
        raise KeyError(f"getpwuid(): uid not found: {user}")

    monkeypatch.setattr(pwd, "getpwuid", unknown)
    (spec,) = parse_spec("uadfv")
    data = DataConfig(detector="none", frames=1, crop_size=32)
    made = prepare(spec, data, data_dir=tmp_path, raw=raw, jobs=1)
    view = split_view([made], "train")
    assert CropReader(view).image(0).shape == (32, 32, 3)


@pytest.mark.parametrize("shares", [[0.5, 0.5, 0.5], [1.0, 0.0, 0.0], [0.5, 0.5]])
def test_shares_that_make_no_sense(shares: list[float]) -> None:
    with pytest.raises(UserError, match="split_shares"):
        from_dict({"data": {"split_shares": shares}}, "here")


def test_clips_without_names_of_their_own_are_not_split_by_crops(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine", real=4, fake=4)
    data = dataclasses.replace(AS_THEY_ARE, split_by="crop")
    with pytest.raises(UserError, match=r"folder:.*split_by"):
        prepare_photos(root, tmp_path / "data", data)
