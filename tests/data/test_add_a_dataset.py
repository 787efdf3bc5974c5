"""The example of docs/add-a-dataset.md, as another package's entry point."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.page import block, offer_entry_points
from support.raw import Pool

from dfbench.cli import main
from dfbench.config import DataConfig
from dfbench.data import catalog
from dfbench.data.catalog import dataset_names
from dfbench.data.doctor import diagnose
from dfbench.data.prepare import prepare
from dfbench.data.spec import parse_spec

PAGE = "add-a-dataset.md"


@pytest.fixture
def _installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Put the page's file and entry point where those of an installed package are."""
    package = tmp_path / "site" / "mirror_faces"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "mirror_dataset_builder.py").write_text(block(PAGE, "python"))
    for name in ("CITATIONS.bib", "TAGS.txt"):
        (package / name).touch()
    (package / "README.md").write_text("# mirror\n\nFaces before a mirror.\n")
    monkeypatch.syspath_prepend(package.parent)
    offer_entry_points(PAGE, catalog, monkeypatch)
    catalog._folders.cache_clear()
    yield
    catalog._folders.cache_clear()
    for module in ("mirror_faces", "mirror_dataset_builder"):
        sys.modules.pop(module, None)


@pytest.mark.usefixtures("_installed")
def test_the_example(tmp_path: Path, pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    assert "mirror" in dataset_names()
    raw = tmp_path / "raw"
    for place, number in enumerate((0, 1, 10, 11, 20, 21)):
        pool.place(raw / f"original/{number:03}.mp4", place)
        pool.place(raw / f"swapped/{number:03}_{number ^ 1:03}.mp4", place, fake=True)
    pool.place(raw / "swapped/000_010.mp4", 6, fake=True)
    (raw / "swapped/notes.txt").touch()
    (spec,) = parse_spec("mirror")
    (found,) = diagnose(spec, raw)
    assert found.usable
    assert found.excluded == {"its two people are in different splits": 1}
    assert not any(part.strangers for part in found.parts)
    prepared = prepare(
        spec, DataConfig(detector="none", frames=1), data_dir=tmp_path / "data", raw=raw, jobs=1
    )
    counts = Counter({key: c.clips_with_crops for key, c in prepared.manifest.counts.items()})
    assert counts == {
        f"{split}/{kind}": 2
        for split in ("train", "val", "test")
        for kind in ("real/real", "fake/MirrorSwap")
    }
    assert main(["datasets", "mirror"]) == 0
    assert "Faces before a mirror" in capsys.readouterr().out
