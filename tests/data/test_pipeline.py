from __future__ import annotations

import dataclasses
import shutil
import subprocess
import sys
from collections import Counter
from itertools import islice
from pathlib import Path

import cv2
import grain
import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from support.photos import AS_THEY_ARE, CROP, prepare_photos, write_photos

from dfbench.config import Balance
from dfbench.data.crop_reader import CropReader
from dfbench.data.pipeline import Batch, class_weights, eval_batches, pad_batch, train_batches
from dfbench.data.prepared import FRAMES, Prepared
from dfbench.data.records import EncodedFaces
from dfbench.data.view import split_view
from dfbench.errors import UserError
from dfbench.processes import Share


def first(count: int, photos: Prepared, *, seed: int = 0, balance: str = "sampling") -> list[Batch]:
    batches = train_batches(split_view([photos], "train"), batch_size=8, seed=seed, balance=balance)
    return list(islice(batches, count))


def rows(batches: list[Batch]) -> list[int]:
    return [int(i) for batch in batches for i in batch["index"]]


def test_a_batch_has_the_promised_shapes(photos: Prepared) -> None:
    (batch,) = first(1, photos)
    assert {k: (v.shape, v.dtype.name) for k, v in batch.items()} == {
        "image": ((8, CROP, CROP, 3), "uint8"),
        "label": ((8,), "int32"),
        "index": ((8,), "int32"),
        "mask": ((8,), "float32"),
    }


def test_labels_and_colours_belong_together(photos: Prepared) -> None:
    """Fakes are redder: were rows, labels or channels mixed up, this would not hold."""
    for batch in first(4, photos):
        red = batch["image"][..., 0].mean((1, 2)) - batch["image"][..., 2].mean((1, 2))
        np.testing.assert_array_equal(batch["label"], (red > 25).astype(np.int32))


def test_order_depends_on_the_seed_alone(photos: Prepared) -> None:
    assert rows(first(6, photos)) == rows(first(6, photos))
    assert rows(first(6, photos)) != rows(first(6, photos, seed=1))


def test_two_epochs_have_different_orders(photos: Prepared) -> None:
    view = split_view([photos], "train")
    epochs = 4
    taken = rows(first(len(view) * epochs // 8, photos, balance="none"))
    one, two = taken[: len(view)], taken[len(view) : 2 * len(view)]
    assert sorted(one) == sorted(two) == list(range(len(view)))
    assert one != two


def test_sampling_gives_each_class_half(photos: Prepared) -> None:
    view = split_view([photos], "train")
    labels = Counter(int(y) for batch in first(10, photos) for y in batch["label"])
    assert labels[0] == labels[1] == 40
    unbalanced = Counter(int(y) for b in first(10, photos, balance="none") for y in b["label"])
    assert unbalanced[0] > unbalanced[1]
    n_real, n_fake = int((view.labels == 0).sum()), int(view.labels.sum())
    weights = class_weights(view, "loss")
    assert weights[0] * n_real == pytest.approx(weights[1] * n_fake)
    assert weights[0] * n_real + weights[1] * n_fake == pytest.approx(len(view))
    assert class_weights(view, "sampling") == (1.0, 1.0)


def test_resumes_where_it_was(photos: Prepared) -> None:
    view = split_view([photos], "train")
    whole = train_batches(view, batch_size=8, seed=3, balance="sampling")
    for _ in range(5):
        next(whole)
    state = whole.get_state()
    expected = [next(whole) for _ in range(5)]
    again = train_batches(view, batch_size=8, seed=3, balance="sampling")
    again.set_state(state)
    for want, got in zip(expected, islice(again, 5), strict=True):
        for name in want:
            np.testing.assert_array_equal(want[name], got[name])


@pytest.mark.slow
def test_workers_change_nothing(photos: Prepared) -> None:
    """Not even in what is resumed with another number of them."""
    view = split_view([photos], "train")
    by_thread = train_batches(view, batch_size=8, seed=0, balance="sampling")
    by_worker = train_batches(view, batch_size=8, seed=0, balance="sampling", workers=2)
    for _ in range(2):
        for one, two in zip(islice(by_thread, 5), islice(by_worker, 5), strict=True):
            np.testing.assert_array_equal(one["index"], two["index"])
            np.testing.assert_array_equal(one["image"], two["image"])
        positions = by_thread.get_state(), by_worker.get_state()
        by_worker.set_state(positions[0])
        by_thread.set_state(positions[1])


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_evaluation_sees_each_crop_once_in_order(photos: Prepared, batch_size: int) -> None:
    view = split_view([photos], "train")
    batches = list(eval_batches(view, batch_size=batch_size))
    assert {len(b["label"]) for b in batches} == {batch_size}
    mask = np.concatenate([b["mask"] for b in batches])
    index = np.concatenate([b["index"] for b in batches])[mask == 1]
    np.testing.assert_array_equal(index, np.arange(len(view)))
    assert mask.sum() == len(view)


def test_padding_is_masked(photos: Prepared) -> None:
    (batch,) = first(1, photos)
    padded = pad_batch(batch, 11)
    assert padded["image"].shape[0] == 11
    assert padded["mask"].tolist() == [1] * 8 + [0] * 3
    assert all(values is batch[name] for name, values in pad_batch(batch, 8).items())


def test_a_damaged_record_is_named(photos: Prepared, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(EncodedFaces, "_images", lambda self, record: (record[:100],))
    with pytest.raises(UserError, match=r"crop 0 of train is damaged .* prepare it again"):
        CropReader(split_view([photos], "train")).image(0)


def test_crops_of_two_sizes_are_no_union(photos: Prepared, tmp_path: Path) -> None:
    data = dataclasses.replace(AS_THEY_ARE, crop_size=2 * CROP)
    larger = prepare_photos(write_photos(tmp_path / "large"), tmp_path / "data", data)
    with pytest.raises(UserError, match=f"{CROP} px.*{2 * CROP} px.*data.crop_size"):
        split_view([photos, larger], "train")


def test_a_union_keeps_its_datasets_apart(photos: Prepared, tmp_path: Path) -> None:
    other = prepare_photos(write_photos(tmp_path / "yours", seed=1), tmp_path / "data")
    view = split_view([photos, other], "train")
    assert len(view) == len(split_view([photos], "train")) + len(split_view([other], "train"))
    assert set(view.dataset.tolist()) == {"folder:mine", "folder:yours"}
    assert len(set(view.video_codes.tolist())) == len(view)
    second = split_view([other], "train")
    (alone,) = list(eval_batches(second, batch_size=len(second)))
    (both,) = list(eval_batches(view, batch_size=len(view)))
    np.testing.assert_array_equal(both["image"][-len(second) :], alone["image"])


@pytest.mark.parametrize("balance", ["sampling", "none", "loss"])
def test_sources_are_drawn_in_the_ratio_asked_for(
    photos: Prepared, tmp_path: Path, balance: str
) -> None:
    write_photos(tmp_path / "few", real=15, fake=10)
    few = prepare_photos(tmp_path / "few", tmp_path / "data")
    view = split_view([photos, few], "train")
    of_few = view.source == few.name
    assert 0 < of_few.mean() < 0.4
    mix = {photos.name: 1.0, few.name: 3.0}
    batches = train_batches(view, batch_size=8, seed=0, balance=balance, mix=mix)
    taken = rows(list(islice(batches, 50)))
    assert of_few[taken].mean() == pytest.approx(0.75, abs=0.01)
    drawn_fakes = view.labels[taken].mean()
    if balance == "sampling":
        assert drawn_fakes == pytest.approx(0.5, abs=0.01)
    if balance == "loss":  # both classes weigh the same in what is drawn
        real, fake = class_weights(view, balance, mix)
        assert real * (1 - drawn_fakes) == pytest.approx(fake * drawn_fakes, rel=0.1)


def test_a_source_of_fakes_alone_leaves_the_reals_to_the_others(
    photos: Prepared, tmp_path: Path
) -> None:
    shutil.copytree(photos.folder, tmp_path / "fakes")
    manifest = dataclasses.replace(photos.manifest, variant="fakes")
    fakes = Prepared(tmp_path / "fakes", manifest)
    frames = pq.read_table(fakes.folder / FRAMES)
    pq.write_table(frames.filter(pc.equal(frames["label"], 1)), fakes.folder / FRAMES)
    view = split_view([photos, fakes], "train")
    mix = {photos.name: 1.0, fakes.name: 1.0}
    batches = train_batches(view, batch_size=8, seed=0, balance="sampling", mix=mix)
    taken = rows(list(islice(batches, 50)))
    assert view.labels[taken].mean() == pytest.approx(0.5, abs=0.01)
    assert (view.source[taken] == fakes.name).mean() == pytest.approx(0.25, abs=0.01)


def test_a_mix_names_each_source(photos: Prepared) -> None:
    view = split_view([photos], "train")
    with pytest.raises(UserError, match=r"training\.mix names catania, and .* give each of these"):
        train_batches(view, batch_size=4, seed=0, balance="none", mix={"catania": 1.0})


def test_a_split_without_a_class_cannot_be_trained_on(tmp_path: Path) -> None:
    root = write_photos(tmp_path / "mine", real=12, fake=12)
    for split, kind in (("train", "real"), ("test", "fake")):
        (root / split).mkdir()
        (root / kind).rename(root / split / kind)
    prepared = prepare_photos(root, tmp_path / "data", AS_THEY_ARE)
    view = split_view([prepared], "train")
    with pytest.raises(UserError, match="the split 'train' has no fake crop to train on"):
        train_batches(view, batch_size=4, seed=0, balance="sampling")
    with pytest.raises(UserError, match="the split 'val' holds no face crop"):
        split_view([prepared], "val")


def test_opencv_decodes_what_tfds_wrote(photos: Prepared) -> None:
    """The pipeline decodes by OpenCV, `as_data_source` by Pillow: the same picture."""
    import tensorflow_datasets as tfds

    view = split_view([photos], "test")
    (batch,) = list(eval_batches(view, batch_size=len(view)))
    source = tfds.builder_from_directory(photos.folder).as_data_source("test")
    for image, position in zip(batch["image"], view.numbers("position"), strict=True):
        reference = source[int(position)]["face"]
        assert cv2.absdiff(image, reference).max() <= 4  # the two JPEG decoders' rounding


def test_workers_import_tfds_before_their_threads_use_it() -> None:
    """Threads that import TFDS at the same time have locked each other out for ever."""
    code = "import sys, dfbench.data.pipeline; sys.exit('tensorflow_datasets' not in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- several processes ----------------------------------------------------------------------------


@pytest.mark.parametrize("parts", [2, 4])
@pytest.mark.parametrize("balance", ["sampling", "none"])
def test_shares_are_the_parts_of_each_batch_in_order(
    photos: Prepared, parts: int, balance: Balance
) -> None:
    view = split_view([photos], "train")

    def batches(share: Share) -> list[Batch]:
        found = train_batches(view, batch_size=8, seed=3, balance=balance, share=share)
        return [next(found) for _ in range(9)]  # more than an epoch

    shares = [batches(Share(part, parts)) for part in range(parts)]
    for whole, *own in zip(batches(Share()), *shares, strict=True):
        assert {len(one["label"]) for one in own} == {8 // parts}
        for name, values in whole.items():
            joined = np.concatenate([one[name] for one in own])
            np.testing.assert_array_equal(joined, values)


def test_a_share_goes_on_where_another_job_stopped(photos: Prepared) -> None:
    view = split_view([photos], "train")

    def start(share: Share) -> grain.DatasetIterator:
        return train_batches(view, batch_size=8, seed=3, balance="sampling", share=share)

    whole = start(Share())
    for _ in range(3):
        next(whole)
    second = start(Share(1, 2))
    second.set_state(whole.get_state())  # a job of one process is resumed by two
    np.testing.assert_array_equal(next(second)["index"], next(whole)["index"][4:])


@pytest.mark.parametrize("parts", [2, 4])
def test_every_crop_is_scored_in_one_process(photos: Prepared, parts: int) -> None:
    view = split_view([photos], "test")
    found = [
        list(eval_batches(view, batch_size=4, share=Share(part, parts))) for part in range(parts)
    ]
    assert {len(b["mask"]) for one in found for b in one} == {4 // parts}
    rows = [int(r) for one in found for b in one for r in b["index"][b["mask"] > 0]]
    assert sorted(rows) == list(range(len(view)))


def test_a_process_without_a_crop_yields_nothing(photos: Prepared) -> None:
    view = split_view([photos], "test")
    size = 2 * len(view)
    assert list(eval_batches(view, batch_size=size, share=Share(1, 2))) == []
