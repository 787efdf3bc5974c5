from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from support.photos import prepare_photos, write_photos

from dfbench.classical import extract
from dfbench.classical.extract import extract_features
from dfbench.classical.features import FeatureRecipe, Features, Models, crop_features
from dfbench.config import AugmentConfig
from dfbench.data.crop_reader import CropReader
from dfbench.data.view import SplitView, split_view
from dfbench.degradations import Degradation
from dfbench.progress import Reporter

SIFT = FeatureRecipe(name="sift", keypoints=5)


@pytest.fixture(scope="module")
def view(tmp_path_factory: pytest.TempPathFactory) -> SplitView:
    root = tmp_path_factory.mktemp("extract")
    two = [
        prepare_photos(write_photos(root / n, seed=k), root / "data") for k, n in enumerate("ab")
    ]
    return split_view(two, "train")


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The hashes of the crops whose features are made."""
    hashes: list[int] = []
    original = crop_features

    def counting(*arguments: object) -> Features:
        hashes.append(arguments[-1])  # type: ignore[arg-type]
        return original(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(extract, "crop_features", counting)
    monkeypatch.setattr(extract, "PART", 8)
    return hashes


def _extract(
    view: SplitView, data_dir: Path, rows: Sequence[int] | None = None, recipe: FeatureRecipe = SIFT
) -> Features:
    chosen = np.arange(len(view)) if rows is None else np.array(rows)
    return extract_features(view, chosen, recipe, Models(), data_dir=data_dir, jobs=1)


def _assert_same(one: Features, other: Features) -> None:
    np.testing.assert_array_equal(one.counts, other.counts)
    np.testing.assert_array_equal(one.values, other.values)
    np.testing.assert_array_equal(one.seen, other.seen)


def test_features_come_in_the_order_of_the_crops(
    view: SplitView, tmp_path: Path, made: list[int]
) -> None:
    features = _extract(view, tmp_path)
    assert len(features) == len(view) == len(made)
    reader = CropReader(view)
    for row in (0, 7, 8, len(view) - 1):  # of both datasets, and at the edge of a part
        one = crop_features(reader.image(row), SIFT, Models(), view.datasets[0].manifest.recipe, 0)
        np.testing.assert_array_equal(features.ragged()[row], one.values)


def test_they_are_made_once(view: SplitView, tmp_path: Path, made: list[int]) -> None:
    first = _extract(view, tmp_path)
    files = sorted(tmp_path.rglob("*.*"))
    assert [f.name.split("-")[:2] for f in files] == [["train", "sift"]] * 2
    made.clear()
    _assert_same(_extract(view, tmp_path), first)
    assert made == []


def test_several_who_want_them_at_once_make_them_once(
    view: SplitView, tmp_path: Path, made: list[int]
) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: _extract(view, tmp_path), range(3)))
    assert len(made) == len(view)
    for other in found[1:]:
        _assert_same(other, found[0])
    assert not list(tmp_path.rglob("*.lock"))


def test_another_choice_of_crops_or_keypoints_is_another_file(
    view: SplitView, tmp_path: Path, made: list[int]
) -> None:
    every = _extract(view, tmp_path)
    some = _extract(view, tmp_path, rows=[1, 5, len(view) - 2])
    np.testing.assert_array_equal(some.counts, every.counts[[1, 5, -2]])
    fewer = _extract(view, tmp_path, recipe=FeatureRecipe(name="sift", keypoints=2))
    assert fewer.counts.max() == 2 < every.counts.max()
    assert len(made) == 2 * len(view) + 3


def test_a_killed_job_goes_on_where_it_was(
    view: SplitView, tmp_path: Path, made: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = _extract(view, tmp_path / "other")
    made.clear()
    counting = extract.crop_features

    def killed(*arguments: object) -> Features:
        if len(made) == 20:
            raise KeyboardInterrupt
        return counting(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(extract, "crop_features", killed)
    with pytest.raises(KeyboardInterrupt):
        _extract(view, tmp_path)
    monkeypatch.setattr(extract, "crop_features", counting)
    made.clear()
    _assert_same(_extract(view, tmp_path), wanted)
    assert len(made) == len(view) - 16  # two parts of eight were whole
    assert not list(tmp_path.rglob("*.parts"))


def test_a_damaged_file_is_made_again(view: SplitView, tmp_path: Path, made: list[int]) -> None:
    first = _extract(view, tmp_path)
    for path in tmp_path.rglob("*.npz"):
        path.write_bytes(path.read_bytes()[:100])
    made.clear()
    _assert_same(_extract(view, tmp_path), first)
    assert len(made) == len(view)


def test_no_pickle_is_read(view: SplitView, tmp_path: Path, made: list[int]) -> None:
    first = _extract(view, tmp_path)
    for path in tmp_path.rglob("*.npz"):
        np.savez(path, values=np.array([print], dtype=object), counts=[1], seen=[True])
    _assert_same(_extract(view, tmp_path), first)


def test_degraded_crops_have_features_of_their_own(
    view: SplitView, tmp_path: Path, made: list[int]
) -> None:
    def extracted(degradation: Degradation | None) -> Features:
        rows = np.arange(len(view))
        return extract_features(
            view, rows, SIFT, Models(), data_dir=tmp_path, degradation=degradation, jobs=1
        )

    clean, noisy = extracted(None), extracted(Degradation("noise", 20))
    assert len(made) == 2 * len(view)
    assert not np.array_equal(clean.values, noisy.values)
    reader = CropReader(view, Degradation("noise", 20))
    row = len(view) - 1  # of the second dataset: noise belongs to the clip, not to the row
    one = crop_features(reader.image(row), SIFT, Models(), view.datasets[1].manifest.recipe, 0)
    np.testing.assert_array_equal(noisy.ragged()[row], one.values)
    _assert_same(extracted(Degradation("noise", 20)), noisy)
    _assert_same(extracted(None), clean)
    assert len(made) == 2 * len(view)
    extracted(Degradation("noise", 21))
    assert len(made) == 3 * len(view)


def test_blur_and_noise_follow_from_seed_and_crop_alone(view: SplitView, tmp_path: Path) -> None:
    def recipe(seed: int, **rates: float) -> FeatureRecipe:
        return FeatureRecipe(name="sift", keypoints=5, augment=AugmentConfig(**rates), seed=seed)

    noisy = _extract(view, tmp_path / "a", recipe=recipe(0, blur=0.5, noise=0.5))
    again = _extract(view, tmp_path / "b", recipe=recipe(0, blur=0.5, noise=0.5))
    _assert_same(noisy, again)
    last = _extract(
        view, tmp_path / "c", rows=[len(view) - 1], recipe=recipe(0, blur=0.5, noise=0.5)
    )
    np.testing.assert_array_equal(last.values, noisy.ragged()[-1])
    for other in (recipe(1, blur=0.5, noise=0.5), SIFT):
        assert not np.array_equal(_extract(view, tmp_path / "a", recipe=other).values, noisy.values)
    # What only networks do changes no file.
    before = len(list((tmp_path / "a").rglob("*.npz")))
    _extract(view, tmp_path / "a", recipe=recipe(0, blur=0.5, noise=0.5, flip=0.1))
    assert len(list((tmp_path / "a").rglob("*.npz"))) == before


def test_processes_make_the_same(
    view: SplitView, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counts: list[tuple[int, int]] = []
    reporter = Reporter(
        bar=lambda title, unit: nullcontext(
            lambda done, total, note="": counts.append((done, total))
        )
    )
    monkeypatch.setattr(extract, "PART", 16)
    rows = np.arange(len(view))
    features = extract_features(
        view, rows, SIFT, Models(), data_dir=tmp_path, jobs=2, reporter=reporter
    )
    monkeypatch.undo()
    _assert_same(features, _extract(view, tmp_path / "alone"))
    sizes = [len(table) for table in view.tables]
    assert [done for done, _ in counts if done in sizes] == sizes
