from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest

from dfbench.data.prepared import MARKER, Prepared, is_finished, load_prepared
from dfbench.errors import UserError


def test_opens_what_was_written(photos: Prepared) -> None:
    again = load_prepared(photos.folder)
    assert again.manifest == photos.manifest
    assert again.name == "folder:mine"
    assert is_finished(photos.folder)
    assert not is_finished(photos.folder / "nowhere")


def test_manipulations_keep_their_fakes_and_all_reals(photos: Prepared) -> None:
    everything = photos.frames("train")
    kept = dataclasses.replace(photos, manipulations=("fake",)).frames("train")
    assert kept.equals(everything)
    with pytest.raises(UserError, match="no manipulation 'Deepfakes'; it has fake"):
        dataclasses.replace(photos, manipulations=("Deepfakes",)).frames("train")


@pytest.mark.parametrize("damage", [b"", b"{", b'{"name": 1}'])
def test_a_damaged_manifest_names_the_file(photos: Prepared, tmp_path: Path, damage: bytes) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(photos.folder, folder)
    (folder / MARKER).write_bytes(damage)
    with pytest.raises(UserError, match=f"{MARKER}.*delete .* and prepare it again"):
        load_prepared(folder)
