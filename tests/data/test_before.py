"""Datasets of pairs of frames, from the raw clips to batches."""

from __future__ import annotations

import dataclasses
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from support.photos import AS_THEY_ARE, CROP, prepare_photos, write_photos
from support.raw import write_frames

from dfbench.config import DataConfig, from_dict, parse_assignment
from dfbench.data.export import export
from dfbench.data.pipeline import eval_batches, train_batches
from dfbench.data.prepared import Prepared
from dfbench.data.shelf import recipe_differences
from dfbench.data.summary import write_summary
from dfbench.data.view import split_view
from dfbench.errors import UserError
from dfbench.faces.clip import CropRecipe

PAIRS = dataclasses.replace(AS_THEY_ARE, before=True, frames=4, format="png")
STEP = 10  # of brightness, from frame to frame


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos that become brighter by `STEP` a frame; fakes become darker."""
    root = tmp_path_factory.mktemp("videos") / "mine"
    for label, name in enumerate(("real", "fake")):
        for number in range(12):
            levels = 20 + number + STEP * np.arange(8)
            frames = [
                np.full((CROP, CROP, 3), level, np.uint8) for level in levels[:: -1 if label else 1]
            ]
            (root / name).mkdir(parents=True, exist_ok=True)
            write_frames(root / name / f"{name}{number:02}.mp4", frames)
    return root


def prepared(videos: Path, data_dir: Path, data: DataConfig = PAIRS) -> Prepared:
    return prepare_photos(videos, data_dir, data)


def test_batches_have_both_frames(videos: Path, tmp_path: Path) -> None:
    pairs = prepared(videos, tmp_path)
    assert pairs.fingerprint().recipe["before"] is True
    view = split_view([pairs], "train")
    batches = train_batches(view, batch_size=8, seed=0, balance="sampling")
    for batch in islice(batches, 4):
        assert (batch["image"].shape, batch["image"].dtype) == ((8, CROP, CROP, 6), np.uint8)
        frame, before = batch["image"][..., :3].astype(int), batch["image"][..., 3:].astype(int)
        step = (frame - before).mean((1, 2, 3))
        # The video's codec rounds.
        np.testing.assert_allclose(step, np.where(batch["label"] == 1, -STEP, STEP), atol=4)
    (last,) = eval_batches(split_view([pairs], "test"), batch_size=512)
    assert last["image"].shape == (512, CROP, CROP, 6)


def test_other_datasets_keep_their_name_and_their_bytes(videos: Path, tmp_path: Path) -> None:
    single = dataclasses.replace(PAIRS, before=None)
    one, off = (
        prepared(videos, tmp_path / name, dataclasses.replace(single, before=before))
        for name, before in (("a", None), ("b", False))
    )
    pairs = prepared(videos, tmp_path / "a")
    assert off.folder.relative_to(tmp_path / "b") == one.folder.relative_to(tmp_path / "a")
    assert pairs.folder != one.folder
    assert one.fingerprint().recipe == off.fingerprint().recipe
    assert "before" not in one.fingerprint().recipe
    assert pairs.manifest.crops_sha256 != one.manifest.crops_sha256
    assert pairs.frames("train").equals(one.frames("train"))
    for split in ("train", "val", "test"):
        batches = [
            next(iter(eval_batches(split_view([d], split), batch_size=64)))  # type: ignore[arg-type]
            for d in (one, pairs)
        ]
        np.testing.assert_array_equal(batches[0]["image"], batches[1]["image"][..., :3])


def test_pages_and_exports_show_the_frame_itself(videos: Path, tmp_path: Path) -> None:
    pairs = prepared(videos, tmp_path / "data")
    assert "before True" in write_summary(pairs).read_text(encoding="utf-8")
    assert export([pairs], tmp_path / "out") == sum(
        len(pairs.frames(split)) for split in ("train", "val", "test")
    )


def test_images_have_no_frame_before_them(tmp_path: Path) -> None:
    write_photos(tmp_path / "mine", real=3, fake=3)
    with pytest.raises(UserError, match=r"data.before needs videos.* 6 of 6 clips are images"):
        prepare_photos(tmp_path / "mine", tmp_path / "data", PAIRS)


def test_what_is_prepared_otherwise_is_named_by_settings_that_can_be_typed() -> None:
    said = recipe_differences(CropRecipe(), CropRecipe(before=True, size=64))
    assert said == "--set data.crop_size=64 --set data.before=true"
    change = parse_assignment(said.split("--set ")[-1])
    assert from_dict(change, "test").data.before is True
