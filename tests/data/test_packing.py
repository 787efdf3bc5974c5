"""The split by crops: what it draws, what is written of it, and that an audit finds its leak."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.photos import AS_THEY_ARE, prepare_photos, write_photos
from support.raw import MINIATURES, Pool

from dfbench.config import DataConfig, from_dict
from dfbench.data.audit import find_overlap
from dfbench.data.clips import clip_table
from dfbench.data.packing import Pack, count_packs, missed_clips, split_crops
from dfbench.data.pipeline import LoadCrop, split_view
from dfbench.data.prepare import prepare
from dfbench.data.spec import parse_spec
from dfbench.errors import UserError
from dfbench.faces.clip import SPLITS, Clip, ClipResult, Crop

SHARES = (0.5, 0.2, 0.3)


def pack(number: int, frames: int = 40) -> Pack:
    clip = Clip(path=Path("x"), label=0, split="train", video=f"real/{number}", manipulation="real")
    crops = tuple(
        Crop(frame=f, time_s=0, box=(0, 0, 1, 1), score=1, image=b"", content=f, phash=b"")
        for f in range(0, 2 * frames, 2)
    )
    misses = tuple((f, "no face found") for f in range(1, 8, 2)) if crops else ()
    result = ClipResult(
        video=clip.video, wanted=frames + 4, crops=crops, misses=misses, reason="" if crops else "?"
    )
    return Pack(clip=clip, result=result, shard=Path("x"))


def test_every_frame_is_in_one_split_by_the_shares() -> None:
    packs = [pack(number) for number in range(50)]
    drawn = split_crops(packs, SHARES)
    for one in packs:
        parts = [p for p in drawn if p.clip.video == one.clip.video]
        assert len({p.clip.split for p in parts}) == len(parts)
        assert sorted(c.frame for p in parts for c in p.result.crops) == [
            c.frame for c in one.result.crops
        ]
        assert sum(p.result.wanted for p in parts) == one.result.wanted
        assert sum(len(p.result.misses) for p in parts) == len(one.result.misses)
    counts = count_packs(drawn)
    shares = [counts[f"{split}/real/real"].frames / 2000 for split in SPLITS]
    np.testing.assert_allclose(shares, SHARES, atol=0.04)
    again = split_crops(list(reversed(packs)), SHARES)  # the order draws nothing
    assert {(p.clip, p.result) for p in again} == {(p.clip, p.result) for p in drawn}


def test_a_clip_without_a_crop_is_counted_once() -> None:
    drawn = split_crops([pack(number, frames=0) for number in range(200)], SHARES)
    missed = missed_clips(drawn)
    assert len(missed) == 200
    assert {m.split for m in missed} == set(SPLITS)


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
        load, hashes = LoadCrop(view), view.numbers("content")
        for row in (0, len(view) - 1):  # records and table have one order
            assert load.map(row)["label"] == view.labels[row]
        assert len(set(hashes.tolist())) == len(hashes)
    leaks = find_overlap(clip_table([crops], ("train", "val")), clip_table([crops], ("test",)))
    assert leaks.leaked > 0
    assert leaks.of("videos").clips > leaks.eval_clips / 2
    clean = find_overlap(clip_table([whole], ("train", "val")), clip_table([whole], ("test",)))
    assert clean.leaked == 0


@pytest.mark.parametrize("shares", [[0.5, 0.5, 0.5], [1.0, 0.0, 0.0], [0.5, 0.5]])
def test_shares_that_make_no_sense(shares: list[float]) -> None:
    with pytest.raises(UserError, match="split_shares"):
        from_dict({"data": {"split_shares": shares}}, "here")


def test_clips_without_names_of_their_own_are_not_split_by_crops(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine", real=4, fake=4)
    data = dataclasses.replace(AS_THEY_ARE, split_by="crop")
    with pytest.raises(UserError, match=r"folder:.*split_by"):
        prepare_photos(root, tmp_path / "data", data)
