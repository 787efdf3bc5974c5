from __future__ import annotations

import dataclasses
import json
import shutil
import sys
from pathlib import Path

import pytest

from dfbench.data.prepared import MARKER, Prepared, is_finished, load_prepared
from dfbench.data.records import EncodedFaces
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


@pytest.mark.parametrize("damage", ["", "{", '{"name": 1}', "no name"])
def test_a_damaged_manifest_names_the_file(photos: Prepared, tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(photos.folder, folder)
    if damage == "no name":
        damage = json.dumps(json.loads((folder / MARKER).read_bytes()) | {"name": ""})
    (folder / MARKER).write_text(damage)
    with pytest.raises(UserError, match=f"{MARKER}.*delete .* and prepare it again"):
        load_prepared(folder)


@pytest.mark.parametrize(
    ("features", "message"),
    [
        ('{"pythonClassName": "antigravity.Face", "featuresDict": {}}', "no feature of a dataset"),
        ('{"a": [{"type": "antigravity.Face", "content": {}}]}', "no feature of a dataset"),
        ("[" * 5000, "prepare it again"),
        ("", "prepare it again"),
    ],
)
def test_a_strangers_features_import_nothing(
    photos: Prepared, tmp_path: Path, features: str, message: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(photos.folder, folder)
    assert len(EncodedFaces(folder, "train")) > 0
    (folder / "features.json").write_text(features)
    with pytest.raises(UserError, match=rf"features\.json: .*{message}"):
        EncodedFaces(folder, "train")
    assert "antigravity" not in sys.modules
