from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds
from support.photos import AS_THEY_ARE, CROP, prepare_photos, write_photos

from dfbench.data.prepare import prepare
from dfbench.data.prepared import MARKER, Prepared
from dfbench.data.spec import parse_spec
from dfbench.errors import UserError
from dfbench.faces.clip import SPLITS
from dfbench.progress import Reporter


def test_counts_cover_every_file(photos: Prepared) -> None:
    by_class = {"real": 0, "fake": 0}
    for split in SPLITS:
        for name, coverage in photos.coverage(split).items():
            assert coverage.clips == coverage.clips_with_crops == coverage.frames
            by_class[name] += coverage.clips
    assert by_class == {"real": 30, "fake": 20}


def test_records_are_in_the_order_of_the_frame_table(photos: Prepared) -> None:
    builder = tfds.builder_from_directory(photos.folder)
    for split in SPLITS:
        table = photos.frames(split).to_pylist()
        source = builder.as_data_source(split)
        assert len(source) == len(table) > 0
        for row in table:
            record = source[row["position"]]
            assert record["video"].decode() == row["video"]
            assert record["label"] == row["label"]
            assert record["face"].shape == (CROP, CROP, 3)


def test_pixels_are_those_of_the_file(tmp_path: Path) -> None:
    """The crop of "none" at the file's own scale is the file's inner square, colours unchanged."""
    side, rng = 64, np.random.default_rng(0)
    files = [tmp_path / "mine" / kind / f"{n}.png" for kind in ("real", "fake") for n in range(3)]
    for file in files:
        file.parent.mkdir(parents=True, exist_ok=True)
        small = rng.integers(0, 256, (4, 4, 3), dtype=np.uint8)
        assert cv2.imwrite(str(file), cv2.resize(small, (side, side)))
    data = dataclasses.replace(AS_THEY_ARE, margin=1.3, crop_size=side)
    prepared = prepare_photos(tmp_path / "mine", tmp_path / "data", data)
    builder = tfds.builder_from_directory(prepared.folder)
    records = [r for split in builder.info.splits for r in builder.as_data_source(split)]
    assert len(records) == len(files)
    for record in records:
        _, kind, name = record["video"].decode().split("/")
        original = cv2.cvtColor(cv2.imread(str(tmp_path / "mine" / kind / name)), cv2.COLOR_BGR2RGB)
        assert record["box"].tolist() == [0, 0, side, side]
        assert cv2.absdiff(original, record["face"]).mean() < 3  # JPEG


def test_a_second_call_reuses_and_says_so(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine")
    first = prepare_photos(root, tmp_path / "data")
    before = (first.folder / MARKER).stat().st_mtime_ns
    said: list[str] = []
    (spec,) = parse_spec(f"folder:{root}")
    again = prepare(
        spec, AS_THEY_ARE, data_dir=tmp_path / "data", jobs=1, reporter=Reporter(say=said.append)
    )
    assert again.folder == first.folder
    assert (again.folder / MARKER).stat().st_mtime_ns == before
    assert said == [f"reusing prepared folder:{root} ({first.folder})"]


@pytest.mark.parametrize("change", ["content", "new file", "recipe"])
def test_what_changed_is_prepared_anew(tmp_path: Path, change: str) -> None:
    root = write_photos(tmp_path / "mine")
    first = prepare_photos(root, tmp_path / "data")
    data = AS_THEY_ARE
    if change == "content":
        file = root / "real" / "real000.png"
        image = cv2.imread(str(file))
        assert cv2.imwrite(str(file), 255 - image)
        os.utime(file, ns=(1, 1))
    elif change == "new file":
        assert cv2.imwrite(str(root / "real" / "zz.png"), np.zeros((40, 40, 3), np.uint8))
    else:
        data = dataclasses.replace(AS_THEY_ARE, crop_size=16)
    again = prepare_photos(root, tmp_path / "data", data)
    assert again.folder != first.folder
    assert again.manifest.crops_sha256 != first.manifest.crops_sha256


def test_same_crops_have_the_same_hash(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine")
    one = prepare_photos(root, tmp_path / "one").fingerprint()
    two = prepare_photos(root, tmp_path / "two").fingerprint()
    assert one == two


def test_an_unfinished_folder_is_made_again(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine")
    first = prepare_photos(root, tmp_path / "data")
    (first.folder / MARKER).unlink()
    again = prepare_photos(root, tmp_path / "data")
    assert (again.folder / MARKER).is_file()
    assert again.manifest.crops_sha256 == first.manifest.crops_sha256


def test_missed_clips_are_named_with_reason(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine", real=6, fake=6)
    (root / "real" / "empty.mp4").write_bytes(b"")
    (root / "fake" / "note.mp4").write_text("this is not a video\n" * 20)
    jpeg = cv2.imencode(".jpg", np.full((64, 64, 3), 90, np.uint8))[1].tobytes()
    (root / "fake" / "cut.jpg").write_bytes(jpeg[: len(jpeg) // 3])
    prepared = prepare_photos(root, tmp_path / "data")
    missed = {
        m.video.rsplit("/", 1)[1]: m.reason for split in SPLITS for m in prepared.missed(split)
    }
    assert set(missed) == {"empty.mp4", "note.mp4", "cut.jpg"}
    assert all(missed.values())
    total = sum(c.clips for s in SPLITS for c in prepared.coverage(s).values())
    with_crops = sum(c.clips_with_crops for s in SPLITS for c in prepared.coverage(s).values())
    assert (total, with_crops) == (15, 12)
    reasons = [r for s in SPLITS for c in prepared.coverage(s).values() for r in c.reasons]
    assert len(reasons) == 3


def test_a_split_without_any_crop(tmp_path: Path) -> None:
    """Its clips are counted as missed; the other splits can be used."""
    root = write_photos(tmp_path / "mine", real=4, fake=4)
    (root / "train").mkdir()
    for kind in ("real", "fake"):
        (root / kind).rename(root / "train" / kind)
        (root / "test" / kind).mkdir(parents=True)
        (root / "test" / kind / "a.mp4").write_bytes(b"")
    prepared = prepare_photos(root, tmp_path / "data")
    assert len(prepared.frames("train")) == 8
    assert len(prepared.frames("test")) == 0
    assert prepared.coverage("test")["real"].clips == 1
    assert len(prepared.missed("test")) == 2


def test_no_crop_at_all_is_the_users_error(tmp_path: Path) -> None:
    for name in ("real", "fake"):
        (tmp_path / "mine" / name).mkdir(parents=True)
        (tmp_path / "mine" / name / "a.mp4").write_bytes(b"")
    with pytest.raises(UserError, match="no clip of 2 gave a face crop"):
        prepare_photos(tmp_path / "mine", tmp_path / "data")


def test_a_raw_folder_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        prepare_photos(tmp_path / "nowhere", tmp_path / "data")
