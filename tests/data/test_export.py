from __future__ import annotations

from pathlib import Path

import pytest
from support.photos import prepare_photos, write_photos

from dfbench.data.export import export
from dfbench.data.prepared import Prepared
from dfbench.errors import UserError
from dfbench.faces.clip import SPLITS


def test_both_annotations_say_the_same(photos: Prepared, tmp_path: Path) -> None:
    other = prepare_photos(write_photos(tmp_path / "a b", real=4, fake=4), tmp_path / "data")
    out = tmp_path / "out"
    count = export([photos, other], out)
    assert count == 50 + 8
    listed = []
    for split in SPLITS:
        lines = (out / f"{split}.txt").read_text().splitlines()
        images = sorted(p for p in (out / split).iterdir() if p.suffix == ".jpg")
        assert len(lines) == len(images) == len(photos.frames(split)) + len(other.frames(split))
        for line in lines:
            path, label = line.split(" ")
            image = out / path
            assert image.with_suffix(".txt").read_text() == f"{label}\n"
            assert ("_fake_" in image.name) == (label == "1")
        listed += lines
    assert len(set(listed)) == count
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a b", "data", "out"]


def test_what_is_there_is_not_touched(photos: Prepared, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="already there"):
        export([photos], tmp_path / "out")
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"file.*(Not a directory|File exists)"):
        export([photos], tmp_path / "file" / "out")
    assert list((tmp_path / "out").iterdir()) == []
