"""Every dataset's builder on a miniature of its official raw layout."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from support.raw import MINIATURES, Pool

from dfbench.config import DataConfig
from dfbench.data import lists
from dfbench.data.catalog import load_builder
from dfbench.data.celebdf import VAL_PEOPLE, read_test_list
from dfbench.data.lists import read_lines, read_rows
from dfbench.data.prepare import prepare
from dfbench.data.raw import NOT_THERE, Index
from dfbench.data.spec import parse_spec
from dfbench.download import DownloadError
from dfbench.errors import UserError
from dfbench.faces.clip import FAKE, REAL, SPLITS


def index_of(text: str, raw: Path) -> Index:
    (spec,) = parse_spec(text)
    cls = load_builder(spec.name)
    return cls.index(raw, cls.variant_of(spec))


def test_what_holds_for_every_dataset(miniature: tuple[str, Path]) -> None:
    name, raw = miniature
    index = index_of(name, raw)
    clips = (*index.clips, *index.absent)
    assert {clip.label for clip in index.clips} == {REAL, FAKE}
    assert all(clip.path.exists() for clip in index.clips)
    assert not any(clip.path.exists() for clip in index.absent)
    assert max(Counter(clip.video for clip in clips).values()) == 1
    assert not {clip.video for clip in clips} & set(index.excluded)
    split_of: dict[str, str] = {}
    for clip in clips:
        assert (clip.manipulation == "real") == (clip.label == REAL)
        assert clip.video.count("/") >= 2
        if clip.original:
            assert clip.label == FAKE
    if name in ("celebdf", "celebdf_v1", "dfdc_preview"):  # official, with people of the rest
        clips = tuple(clip for clip in clips if clip.split != "test")
    for clip in clips:
        for person in {clip.identity, clip.source_identity} - {""}:
            assert split_of.setdefault(person, clip.split) == clip.split, person
    real = {clip.video: clip for clip in clips if clip.label == REAL}
    for clip in clips:
        if clip.original in real:
            assert real[clip.original].split == clip.split


def test_each_is_prepared_from_end_to_end(
    miniature: tuple[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name, raw = miniature
    (spec,) = parse_spec(name)
    data = DataConfig(detector="haar", frames=2, crop_size=64)
    prepared = prepare(spec, data, data_dir=tmp_path / "data", raw=raw, jobs=1)
    index = index_of(name, raw)
    counted = {False: 0, True: 0}
    for split in SPLITS:
        for one in prepared.coverage(split).values():
            counted[True] += one.clips_with_crops
            counted[False] += one.clips - one.clips_with_crops
    assert counted[True] + counted[False] == len(index.clips) + len(index.absent)
    assert counted[True] >= 0.8 * len(index.clips)  # Haar misses some of the rendered faces
    assert sum(prepared.manifest.excluded.values()) == len(index.excluded)
    missed = [m for split in SPLITS for m in prepared.missed(split)]
    assert {c.video for c in index.absent} == {m.video for m in missed if m.reason == NOT_THERE}
    split_of: dict[int, str] = {}
    for split in SPLITS:
        for content in prepared.frames(split)["content"].to_pylist():
            assert split_of.setdefault(content, split) == split  # no crop in two splits
    again = prepare(spec, data, data_dir=tmp_path / "data")  # without the raw download
    assert again.folder == prepared.folder


def splits_of(index: Index) -> dict[str, str]:
    return {clip.video: clip.split for clip in (*index.clips, *index.absent)}


def test_uadfv(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["uadfv"](tmp_path, pool)
    index = index_of("uadfv", tmp_path)
    assert len(index.clips) == 11
    assert len(index.absent) == 98 - 11
    counts = Counter(splits_of(index).values())
    assert counts["test"] == 28
    assert counts["val"] >= 6
    assert "uadfv/fake/0005" in {clip.video for clip in index.absent}
    (fake,) = [clip for clip in index.clips if clip.video == "uadfv/fake/0004"]
    assert (fake.original, fake.split) == ("uadfv/real/0004", "test")


def test_celebdf(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["celebdf"](tmp_path, pool)
    index = index_of("celebdf", tmp_path)
    splits = splits_of(index)
    assert splits["celebdf/Celeb-real/id0_0001"] == "test"
    assert splits["celebdf/Celeb-real/id0_0000"] == "train"
    assert splits["celebdf/Celeb-real/id50_0001"] == "val"
    assert splits["celebdf/Celeb-synthesis/id50_id51_0000"] == "val"
    assert sorted(index.excluded) == [
        "celebdf/Celeb-synthesis/id0_id50_0000",
        "celebdf/Celeb-synthesis/id0_id50_0001",
    ]
    test = [c for c in (*index.clips, *index.absent) if c.split == "test"]
    assert Counter(c.label for c in test) == {REAL: 178, FAKE: 340}
    (fake,) = [c for c in index.clips if c.video == "celebdf/Celeb-synthesis/id0_id1_0000"]
    assert fake.original == "celebdf/Celeb-real/id0_0000"
    assert (fake.identity, fake.source_identity) == ("celebdf/id0", "celebdf/id1")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lines: lines[:-70], "448 clips instead of 518, 70 are missing"),
        (lambda lines: ["01"[line[0] == "0"] + line[1:] for line in lines], "1 means real"),
        (lambda lines: ["hello", *lines], "line 1: 'hello' is no mark"),
        (lambda lines: [*lines[1:], lines[-1].replace("0 ", "0 x")], "is no mark and clip"),
    ],
)
def test_a_wrong_list_is_refused(
    tmp_path: Path, pool: Pool, change: Callable[[list[str]], list[str]], message: str
) -> None:
    MINIATURES["celebdf"](tmp_path, pool)
    path = tmp_path / "List_of_testing_videos.txt"
    lines = path.read_text(encoding="utf-8-sig").split("\n")
    path.write_text("\n".join(change([line.strip() for line in lines if line.strip()])))
    with pytest.raises(UserError, match=message) as error:
        index_of("celebdf", tmp_path)
    assert str(path) in str(error.value)


def test_ffpp(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["ffpp/c23"](tmp_path, pool)
    index = index_of("ffpp/c23", tmp_path)
    assert len(index.clips) == 6 + 17
    same_name = [c for c in index.clips if c.video.endswith("/000_001")]
    assert sorted(c.manipulation for c in same_name) == ["Deepfakes", "FaceSwap", "NeuralTextures"]
    assert {c.split for c in same_name} == {"train"}
    splits = splits_of(index)
    assert Counter(s for v, s in splits.items() if v.startswith("ffpp/real/")) == {
        "train": 720,
        "val": 140,
        "test": 140,
    }
    assert splits["ffpp/FaceSwap/005_004"] == "test"  # missing, in a folder that is there
    assert not any(c.manipulation == "FaceShifter" for c in index.absent)  # no such folder
    train, test = (
        {source for c in index.clips if c.split == split for source in c.footage}
        for split in ("train", "test")
    )
    crossing = train & test
    assert crossing == {"shared-source"}


def test_ffpp_lists_are_needed(tmp_path: Path, pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    MINIATURES["ffpp/c23"](tmp_path, pool)
    (tmp_path / "splits/val.json").unlink()

    def offline(*args: object, **kwargs: object) -> None:
        raise DownloadError("no network")

    monkeypatch.setattr(lists, "download", offline)
    with pytest.raises(UserError, match=r"official list val\.json.*no network.*put a copy"):
        index_of("ffpp/c23", tmp_path)


def test_dfd(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["dfd"](tmp_path, pool)
    assert {clip.split for clip in index_of("dfd", tmp_path).clips} == {"test"}
    by_actor = index_of("dfd/c23-by-actor", tmp_path)
    assert len(by_actor.clips) + len(by_actor.excluded) == 16
    real = {clip.identity: clip.split for clip in by_actor.clips if clip.label == REAL}
    for clip in by_actor.clips:
        if clip.label == FAKE:
            assert real[clip.identity] == real[clip.source_identity] == clip.split
    originals = {c.original for c in by_actor.clips if c.label == FAKE}
    assert originals <= {c.video for c in by_actor.clips}


def test_dfdc(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["dfdc"](tmp_path, pool)
    index = index_of("dfdc", tmp_path)
    assert Counter(clip.split == "test" for clip in index.clips) == {True: 4, False: 16}
    assert sum(c.video.endswith("/notherexyz") for c in index.absent) == 2
    assert sorted(v.split("/")[-1] for v in index.excluded) == ["unlisteda", "unlistedb"]
    splits = splits_of(index)
    for clip in index.clips:
        assert not clip.original or splits[clip.original] == clip.split
    test = [c for c in (*index.clips, *index.absent) if c.split == "test"]
    assert Counter(c.label for c in test) == {REAL: 2500, FAKE: 2500}


def test_dfdc_labels_have_a_header_or_none(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["dfdc"](tmp_path, pool)
    labels = tmp_path / "test/labels.csv"
    lines = read_lines(labels)
    bare = index_of("dfdc", tmp_path)
    labels.write_text("\n".join(["filename,label", *lines]))
    assert index_of("dfdc", tmp_path) == bare
    labels.write_text("\n".join(["label,filename", *(",".join(x.split(",")[::-1]) for x in lines)]))
    assert index_of("dfdc", tmp_path) == bare
    labels.write_text("\n".join(["name,label", *lines]))
    with pytest.raises(UserError, match="no column 'filename'"):
        index_of("dfdc", tmp_path)


@pytest.mark.parametrize(
    ("file", "right", "wrong"),
    [
        ("test/labels.csv", "1", "FAKE"),
        ("dfdc_train_part_0/metadata.json", "FAKE", "fake?"),
    ],
)
def test_a_dfdc_label_is_never_guessed(
    tmp_path: Path, pool: Pool, file: str, right: str, wrong: str
) -> None:
    MINIATURES["dfdc"](tmp_path, pool)
    path = tmp_path / file
    path.write_text(path.read_text().replace(right, wrong, 1))
    with pytest.raises(UserError, match=rf"{path.name}: no '{re.escape(wrong)}'"):
        index_of("dfdc", tmp_path)


def test_dfdc_preview(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["dfdc_preview"](tmp_path, pool)
    index = index_of("dfdc_preview", tmp_path)
    assert Counter(clip.manipulation for clip in index.clips) == {
        "real": 3,
        "method_A": 3,
        "method_B": 3,
    }
    assert {c.identity for c in index.absent} == {"dfdc_preview/9"}
    assert {c.identity for c in index.clips if c.split == "test"} == {"dfdc_preview/1003"}


def test_dftimit(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["dftimit/hq"](tmp_path, pool)
    index = index_of("dftimit/hq", tmp_path)
    assert len(index.clips) == 8 + 7
    assert [clip.video for clip in index.absent] == ["dftimit/real/mgwt0/si649"]
    assert not any("mbdg0" in clip.video or "head" in clip.video for clip in index.clips)
    assert {c.identity for c in index.clips} == {
        c.identity for c in index_of("dftimit/lq", tmp_path).clips
    }
    (fake,) = [c for c in index.clips if c.video == "dftimit/hq/fadg0/sa1-video-fram1"]
    assert fake.original == "dftimit/real/fadg0/sa1"


def test_variants_are_checked(tmp_path: Path) -> None:
    for text, message in {
        "ffpp": "there are ffpp/c23, ffpp/c40, ffpp/raw",
        "ffpp/c32": "did you mean",
        "uadfv/c23": "uadfv has no variants",
    }.items():
        with pytest.raises(UserError, match=message):
            index_of(text, tmp_path)


def test_a_wrong_folder_is_named(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["uadfv"](tmp_path / "inner", pool)
    with pytest.raises(UserError, match=r"did you mean --raw .*inner"):
        index_of("uadfv", tmp_path)
    with pytest.raises(UserError, match="no such folder"):
        index_of("celebdf", tmp_path / "inner")
    with pytest.raises(UserError, match="no clip in any of"):
        index_of("dfdc", tmp_path / "inner")


# --- the official lists ---------------------------------------------------------------------------


def touch(folder: Path, names: Iterable[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_official_ffpp(tmp_path: Path, shared_dir: Path) -> None:
    lists_dir = shared_dir / "data/splits/ffpp"
    (tmp_path / "splits").mkdir()
    for name in ("train", "val", "test"):
        shutil.copy(lists_dir / f"{name}.json", tmp_path / "splits")
    shutil.copy(lists_dir / "conversion_dict.json", tmp_path)
    touch(tmp_path / "original_sequences/youtube/c40/videos", [f"{n:03}.mp4" for n in range(1000)])
    touch(tmp_path / "manipulated_sequences/Deepfakes/c40/videos", ["000_003.mp4"])
    index = index_of("ffpp/c40", tmp_path)
    real = [c for c in index.clips if c.label == REAL]
    assert Counter(c.split for c in real) == {"train": 720, "val": 140, "test": 140}
    assert len(index.absent) == 999
    splits_by_source: dict[str, set[str]] = {}
    for clip in real:
        splits_by_source.setdefault(*clip.footage, set()).add(clip.split)
    assert sum(len(splits) > 1 for splits in splits_by_source.values()) == 7


def test_official_celebdf(tmp_path: Path, shared_dir: Path) -> None:
    lists_dir = shared_dir / "data/splits/celebdf"
    listed = tmp_path / "List_of_testing_videos.txt"
    for folder in ("Celeb-real", "YouTube-real", "Celeb-synthesis"):
        name = {"YouTube-real": "99999.mp4", "Celeb-real": "id0_9999.mp4"}
        touch(tmp_path / folder, [name.get(folder, "id0_id1_9999.mp4")])
    shutil.copy(lists_dir / "List_of_testing_videos.txt", listed)
    test = [c for c in index_of("celebdf", tmp_path).absent if c.split == "test"]
    assert Counter(c.label for c in test) == {REAL: 178, FAKE: 340}
    listed.unlink()
    shutil.copy(lists_dir / "truncated_list_448_lines.txt", listed)
    with pytest.raises(UserError, match="70 are missing"):
        index_of("celebdf", tmp_path)
    listed.unlink()
    shutil.copy(lists_dir / "v1_reconstructed.txt", listed)
    test = [c for c in index_of("celebdf_v1", tmp_path).absent if c.split == "test"]
    assert Counter(c.label for c in test) == {REAL: 38, FAKE: 62}


@pytest.mark.parametrize(
    ("dataset", "name", "real", "fake"),
    [
        ("celebdf", "List_of_testing_videos.txt", 178, 340),
        ("celebdf_v1", "v1_reconstructed.txt", 38, 62),
    ],
)
def test_official_celebdf_swaps_stay_within_groups(
    shared_dir: Path, dataset: str, name: str, real: int, fake: int
) -> None:
    names = read_test_list(shared_dir / "data/splits/celebdf" / name, real=real, fake=fake)
    inside = set()
    for clip in names:
        people = {person in VAL_PEOPLE[dataset] for person in re.findall(r"id\d+", clip)}
        assert len(people) <= 1, clip
        inside |= people
    assert inside == {True, False}


def test_official_dfdc(tmp_path: Path, shared_dir: Path) -> None:
    lists_dir = shared_dir / "data/splits/dfdc"
    for number, (part, total) in enumerate({"metadata0": 1334, "metadata10": 3192}.items()):
        folder = tmp_path / f"dfdc_train_part_{number}"
        folder.mkdir()
        shutil.copy(lists_dir / f"{part}.json", folder / "metadata.json")
        names = list(json.loads((folder / "metadata.json").read_text()))
        assert len(names) == total
        touch(folder, names)
    touch(tmp_path / "test", ["aalscayrfi.mp4", "aamrozxzsq.mp4"])
    shutil.copy(lists_dir / "dfdc_test_labels.csv", tmp_path / "test/labels.csv")
    index = index_of("dfdc", tmp_path)
    train = Counter(c.label for c in index.clips if c.split != "test")
    assert train == {REAL: 86 + 379, FAKE: 1248 + 2813}
    test = {c.video.split("/")[-1]: c.label for c in index.clips if c.split == "test"}
    assert test == {"aalscayrfi": REAL, "aamrozxzsq": FAKE}
    assert len(index.absent) == 4998


def test_official_dftimit(tmp_path: Path, shared_dir: Path) -> None:
    lists_dir = shared_dir / "data/splits/dftimit"
    real = read_rows(lists_dir / "reals.csv", ("path", "videofolder"))
    assert len(real) == 320  # its byte-order mark is no part of the first column
    assert len({row["path"] for row in real}) == 32
    fakes = read_lines(lists_dir / "dftimit_test_fake.csv")[1:]
    made_from = read_rows(lists_dir / "dftimit_test_real.csv", ("path", "videofolder"))
    for fake, row in zip(fakes, made_from, strict=True):  # the two lists are in one order
        assert fake.startswith(f"{row['videofolder']}-video-")
        name = f"higher_quality/{row['path'].split('/')[0]}/{fake}.avi"
        touch(tmp_path, [name, name.replace(".avi", ".wav")])
    touch(tmp_path / "VidTIMIT", [f"{r['path']}{r['videofolder']}/001" for r in real])
    index = index_of("dftimit/hq", tmp_path)
    assert Counter(clip.label for clip in index.clips) == {REAL: 60, FAKE: 60}
    assert {clip.split for clip in index.clips} == {"test"}
    assert not index.absent


def test_official_uadfv(shared_dir: Path) -> None:
    names = read_lines(shared_dir / "data/splits/uadfv/test_14_pairs.csv")  # without a header
    module = sys.modules[load_builder("uadfv").__module__]
    assert {name[:4] for name in names} == module.TEST
    assert len(names) == 28
