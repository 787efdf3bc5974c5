from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from dfbench.data.index import indexed_vectors
from dfbench.data.nearest import Vectors
from dfbench.data.prepared import Prepared
from dfbench.data.view import SplitView, split_view
from dfbench.progress import Reporter


class Maker:
    """Makes vectors, and counts the crops."""

    def __init__(self) -> None:
        self.crops = 0

    def __call__(self, view: SplitView, title: str) -> Vectors:
        assert title == "ones of folder:mine, train"
        self.crops += len(view)
        return np.arange(2 * len(view), dtype=np.float32).reshape(-1, 2)


@pytest.fixture
def view(photos: Prepared) -> SplitView:
    return split_view([photos], "train")


def get(
    view: SplitView, folder: Path, maker: Maker, recipe: str = "a", said: list[str] | None = None
) -> Vectors:
    lines: list[str] = [] if said is None else said
    reporter = Reporter(say=lines.append)
    return indexed_vectors(view, "ones", {"r": recipe}, maker, data_dir=folder, reporter=reporter)


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def test_vectors_are_made_once(view: SplitView, tmp_path: Path) -> None:
    maker, said = Maker(), list[str]()
    first = get(view, tmp_path, maker)
    second = get(view, tmp_path, maker, said=said)
    np.testing.assert_array_equal(first, second)
    assert maker.crops == len(view)
    (path,) = files(tmp_path)
    assert path.name.startswith("train-ones-")
    assert said == [f"reusing ones of folder:mine, train ({path})"]


def test_whatever_changes_has_a_file_of_its_own(view: SplitView, tmp_path: Path) -> None:
    maker = Maker()
    fewer = SplitView(view.datasets, view.split, (view.tables[0].slice(1),))
    get(view, tmp_path, maker)
    get(view, tmp_path, maker, recipe="b")
    assert len(get(fewer, tmp_path, maker)) == len(view) - 1
    assert len(files(tmp_path)) == 3
    assert maker.crops == 3 * len(view) - 1


@pytest.mark.parametrize("damage", ["cut", "noise", "other", "rows"])
def test_a_damaged_file_is_made_again(damage: str, view: SplitView, tmp_path: Path) -> None:
    maker, said = Maker(), list[str]()
    expected = get(view, tmp_path, maker)
    (path,) = files(tmp_path)
    data = path.read_bytes()
    if damage == "cut":
        path.write_bytes(data[: len(data) // 2])
    elif damage == "noise":
        path.write_bytes(b"no index" * 9)
    elif damage == "other":  # a file of another recipe under this name
        get(view, tmp_path, maker, recipe="b")
        (other,) = set(files(tmp_path)) - {path}
        other.replace(path)
    else:
        with np.load(path) as file:
            np.savez(path, vectors=file["vectors"][1:], key=file["key"])
    before = maker.crops
    np.testing.assert_array_equal(get(view, tmp_path, maker, said=said), expected)
    assert said == [f"{path}: damaged, it is made again"]
    assert maker.crops == before + len(view)
    get(view, tmp_path, maker)
    assert maker.crops == before + len(view)


def test_what_is_killed_leaves_no_file(view: SplitView, tmp_path: Path) -> None:
    def killed(view: SplitView, title: str) -> Vectors:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        indexed_vectors(view, "ones", {}, killed, data_dir=tmp_path)
    assert files(tmp_path) == []
