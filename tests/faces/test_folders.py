from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from dfbench.errors import UserError
from dfbench.faces.folders import index_folder, index_real_folder, split_of


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()


def test_files_of_both_classes_with_unique_keys(tmp_path: Path) -> None:
    touch(tmp_path, "real/a.jpg", "real/b.MP4", "fake/a.jpg", "real/notes.txt", "real/.c.jpg")
    clips = index_folder(tmp_path, "folder")
    assert [(c.video, c.label) for c in clips] == [
        ("folder/real/a.jpg", 0),
        ("folder/real/b.MP4", 0),
        ("folder/fake/a.jpg", 1),
    ]


def test_an_identity_stays_in_one_split_over_both_classes(tmp_path: Path) -> None:
    names = [f"person{i}" for i in range(30)]
    touch(tmp_path, *(f"{c}/{n}/{k}.png" for c in ("real", "fake") for n in names for k in "xyz"))
    clips = index_folder(tmp_path, "folder")
    splits = {n: {c.split for c in clips if c.identity == n} for n in names}
    assert all(len(s) == 1 for s in splits.values())
    assert len({next(iter(s)) for s in splits.values()}) == 3


def test_splits_stay_when_files_are_added(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{c}/{i}.png" for c in ("real", "fake") for i in range(40)))
    before = {c.video: c.split for c in index_folder(tmp_path, "folder")}
    touch(tmp_path, *(f"{c}/new{i}.png" for c in ("real", "fake") for i in range(40)))
    after = {c.video: c.split for c in index_folder(tmp_path, "folder")}
    assert len(after) == 160
    assert all(after[video] == split for video, split in before.items())


def test_hash_split_is_70_15_15() -> None:
    counts = Counter(split_of(f"person{i}") for i in range(20_000))
    assert counts["train"] / 20_000 == pytest.approx(0.70, abs=0.02)
    assert counts["val"] / 20_000 == pytest.approx(0.15, abs=0.02)


def test_explicit_splits(tmp_path: Path) -> None:
    touch(tmp_path, "test/real/a.jpg", "test/fake/a.jpg", "train/real/a.jpg", "train/fake/b.jpg")
    clips = index_folder(tmp_path, "folder")
    assert Counter(c.split for c in clips) == {"test": 2, "train": 2}
    assert len({c.video for c in clips}) == 4


def test_self_blends_pair_with_their_reals(tmp_path: Path) -> None:
    touch(tmp_path, "anna/1.jpg", "anna/2.jpg", "b.jpg")
    clips = index_real_folder(tmp_path, "sbi")
    real = {c.video: c for c in clips if c.label == 0}
    fake = [c for c in clips if c.label == 1]
    assert set(real) == {"sbi/real/anna/1.jpg", "sbi/real/anna/2.jpg", "sbi/real/b.jpg"}
    assert len(fake) == 3
    for clip in fake:
        assert clip.self_blend
        assert clip.split == real[clip.original].split
        assert clip.path == real[clip.original].path
    assert len({c.video for c in clips}) == 6


def test_unusable_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"nowhere: no such folder"):
        index_folder(tmp_path / "nowhere", "folder")
    touch(tmp_path, "real/a.jpg")
    with pytest.raises(UserError, match=r"no image or video in .*fake; it must hold"):
        index_folder(tmp_path, "folder")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no image or video of a real face"):
        index_real_folder(tmp_path / "empty", "sbi")
