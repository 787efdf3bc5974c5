from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
import pyarrow as pa
import pytest
from support.photos import AS_THEY_ARE, prepare_photos
from support.raw import MINIATURES, Pool

from dfbench.config import DataConfig
from dfbench.data.alike import directions
from dfbench.data.audit import KINDS, Features, Overlap, find_overlap
from dfbench.data.clips import CLIPS, clip_table, middle_crops
from dfbench.data.prepare import prepare
from dfbench.data.prepared import Prepared, column
from dfbench.data.spec import parse_spec
from dfbench.faces.clip import SPLITS, Split

WHOLE = DataConfig(detector="none", frames=3, crop_size=64)  # frames as they are: no clip is missed
TRAINED: tuple[Split, ...] = ("train", "val")


def prepared(text: str, root: Path, pool: Pool, raw: str = "") -> Prepared:
    """Prepare a miniature."""
    (spec,) = parse_spec(text)
    name = raw or text
    folder = root / name.replace("/", "-")
    if not folder.is_dir():
        MINIATURES[name](folder, pool)
    return prepare(spec, WHOLE, data_dir=root / "data", raw=folder, jobs=1)


def overlap(train: Prepared, evaluated: Prepared) -> Overlap:
    return find_overlap(clip_table([train], TRAINED), clip_table([evaluated], ["test"]))


def counts(found: Overlap) -> dict[str, tuple[int, int]]:
    """Return (shared, clips) of each kind of which there is any."""
    return {f.kind: (f.shared, f.clips) for f in found.findings if f.shared or f.clips}


def test_source_videos_that_cross_the_splits_of_ffpp(tmp_path: Path, pool: Pool) -> None:
    """Videos 000 (train) and 004 (test) are from one YouTube video, says the miniature."""
    ffpp = prepared("ffpp/c23:Deepfakes", tmp_path, pool, "ffpp/c23")
    found = overlap(ffpp, ffpp)
    assert (found.train_clips, found.eval_clips) == (8, 4)
    # Of the test clips 004, 005, 004_005 and 005_004 all but 005 are from that source.
    assert counts(found) == {"footage": (1, 3)}
    examples = found.of("footage").examples
    assert {example.shared for example in examples} == {"shared-source"}
    assert [example.eval.video.split("/")[-1] for example in examples] == [
        *("004", "004_005", "005_004"),
    ]
    assert found.concerned == 3
    assert found.leaked == 0


def test_the_two_versions_of_celebdf_share_people(tmp_path: Path, pool: Pool) -> None:
    both = [prepared(name, tmp_path, pool) for name in ("celebdf", "celebdf_v1")]
    found = overlap(*both)
    # id0 and id1, in the test clips id0_0001 and id0_id1_0001.
    assert found.of("identities").shared == 2
    assert found.of("identities").clips == 2
    # A kind's examples show each of what is shared once, then further clips of it.
    people = [example.shared for example in found.of("identities").examples]
    assert people == ["celebdf/id0", "celebdf/id1", "celebdf/id0"]
    assert found.of("videos").shared == 0


def test_the_qualities_of_dftimit_share_everything_but_no_split(tmp_path: Path, pool: Pool) -> None:
    hq, lq = (prepared(f"dftimit/{q}", tmp_path, pool, "dftimit/hq") for q in ("hq", "lq"))
    found = find_overlap(clip_table([hq], SPLITS), clip_table([lq], SPLITS))
    assert (found.train_clips, found.eval_clips) == (15, 15)
    assert {kind: value for kind, value in counts(found).items() if kind != "near"} == {
        "videos": (7, 7),  # the real ones
        "exact": (15, 15),  # the miniature's fakes of both qualities are the same files
        "originals": (8, 15),  # one of them is missing, but two fakes were made from it
        "identities": (4, 15),
    }
    for one, other in (("train", "val"), ("val", "train")):
        split = find_overlap(clip_table([hq], [one]), clip_table([lq], [other]))
        assert counts(split) == {}


def test_pairs_that_cross_splits(tmp_path: Path, pool: Pool) -> None:
    """A fake's original in training is seen, and a fake in training of an evaluated real clip."""
    uadfv = prepared("uadfv", tmp_path, pool)
    clips = clip_table([uadfv], SPLITS)
    real, fake = (clips.filter(pa.array(column(clips, "label") == k)) for k in (0, 1))
    assert (len(real), len(fake)) == (6, 5)
    for train, evaluated in ((real, fake), (fake, real), (fake, fake)):
        assert counts(find_overlap(train, evaluated))["originals"] == (5, 5)
    assert "originals" not in counts(find_overlap(real, real))  # those are shared videos
    assert counts(find_overlap(clips, clips))["videos"] == (11, 11)


# --- by looks -------------------------------------------------------------------------------------


def write_folder(root: Path, images: Iterable[np.ndarray], *, split: str) -> None:
    """Write some pictures as real ones of a split, and one of noise as fake."""
    noise = np.random.default_rng(len(str(root))).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    for kind, kept in (("real", list(images)), ("fake", [noise])):
        folder = root / split / kind
        folder.mkdir(parents=True, exist_ok=True)
        for number, image in enumerate(kept):
            assert cv2.imwrite(str(folder / f"{number}.png"), image)


@pytest.fixture(scope="module")
def faces(pool: Pool) -> list[np.ndarray]:
    return [pool.frames(number)[0][..., ::-1] for number in range(8)]


def folder_pair(tmp_path: Path, train: list[np.ndarray], test: list[np.ndarray]) -> list[Prepared]:
    write_folder(tmp_path / "before", train, split="train")
    write_folder(tmp_path / "after", test, split="test")
    data = dataclasses.replace(AS_THEY_ARE, crop_size=128)
    return [
        prepare_photos(tmp_path / name, tmp_path / "data", data) for name in ("before", "after")
    ]


def test_copies_are_found_by_their_pixels(tmp_path: Path, faces: list[np.ndarray]) -> None:
    good, jpeg = cv2.imencode(".jpg", faces[1], [cv2.IMWRITE_JPEG_QUALITY, 40])
    assert good
    copies = [
        faces[0],
        cv2.imdecode(jpeg, cv2.IMREAD_COLOR),
        np.clip(faces[2] * 1.2 + 8.0, 0, 255).astype(np.uint8),
        cv2.resize(faces[3], None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA),
    ]
    found = overlap(*folder_pair(tmp_path, faces[:6], [*copies, *faces[6:]]))
    assert (found.train_clips, found.eval_clips) == (7, 7)
    assert counts(found) == {"exact": (1, 1), "near": (3, 3)}
    assert (found.concerned, found.leaked) == (4, 1)
    pairs = {e.eval.video: e.train.video for k in ("exact", "near") for e in found.of(k).examples}
    assert pairs == {
        f"folder:after/real/test/{n}.png": f"folder:before/real/train/{n}.png" for n in range(4)
    }


def test_two_folders_of_one_name_are_told_apart(tmp_path: Path, faces: list[np.ndarray]) -> None:
    """Files of the same names are the same clips only where they look alike."""
    mine = tmp_path / "a" / "mine"
    for split, part in (("train", faces[:3]), ("test", faces[3:6])):
        write_folder(mine, part, split=split)
    same = prepare_photos(mine, tmp_path / "data")
    shutil.copytree(mine, tmp_path / "b" / "mine")
    moved = prepare_photos(tmp_path / "b" / "mine", tmp_path / "data")
    write_folder(tmp_path / "c" / "mine", faces[3:6], split="train")
    other = prepare_photos(tmp_path / "c" / "mine", tmp_path / "data")
    before = clip_table([same], ["train"])
    assert counts(find_overlap(before, clip_table([moved], ["train"])))["videos"] == (4, 4)
    assert find_overlap(before, clip_table([other], ["train"])).of("videos").clips <= 1
    assert same.name == moved.name == other.name == "folder:mine"


def test_names_of_people_belong_to_their_dataset(photos: Prepared) -> None:
    table = clip_table([photos], SPLITS)
    assert set(table["video"].to_pylist()) == {
        video.replace("folder/", "folder:mine/", 1)
        for split in SPLITS
        for video in photos.frames(split)["video"].to_pylist()
    }
    assert table.schema == CLIPS
    assert len(find_overlap(table, CLIPS.empty_table()).findings) == len(KINDS)
    assert counts(find_overlap(CLIPS.empty_table(), table)) == {}


def test_the_middle_crop_stands_for_a_clip(tmp_path: Path, pool: Pool) -> None:
    uadfv = prepared("uadfv", tmp_path, pool)
    rows = middle_crops(uadfv, "test")
    everything = uadfv.frames("test")
    videos = column(everything, "video")
    assert len(rows) == len(set(videos)) < len(everything)
    for row in rows.to_pylist():
        (here,) = np.nonzero(videos == row["video"])
        assert everything["position"].to_pylist()[here[len(here) // 2]] == row["position"]


def test_features_are_compared_within_a_class(photos: Prepared) -> None:
    """What tells real from fake does not make two reals alike."""
    train, evaluated = (clip_table([photos], [split]) for split in ("train", "test"))
    rng = np.random.default_rng(0)
    labels = [column(table, "label") for table in (train, evaluated)]
    vectors = [
        (rng.normal(size=(len(label), 16)) + 100 * label[:, None]).astype(np.float32)
        for label in labels
    ]
    twin = int(np.flatnonzero(labels[0] == labels[1][2])[0])
    vectors[1][2] = vectors[0][twin] + 0.01
    found = find_overlap(
        train, evaluated, kinds=(), features=Features(train=vectors[0], eval=vectors[1])
    )
    assert counts(found) == {"alike": (1, 1)}
    (example,) = found.of("alike").examples
    assert example.train.video == train["video"].to_pylist()[twin]
    assert example.eval.video == evaluated["video"].to_pylist()[2]
    constant = np.ones((len(train), 3), np.float32)
    assert not directions(constant, labels[0], constant, labels[0]).any()
