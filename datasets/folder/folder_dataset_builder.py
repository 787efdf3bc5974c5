"""`folder:PATH`: a person's own files as a dataset; see README.md."""

from __future__ import annotations

from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.faces.clip import Clip
from dfbench.faces.folders import index_folder


class Builder(FaceBuilder):
    """The user's own folder."""

    @classmethod
    def index(cls, raw_dir: Path) -> list[Clip]:
        """List the files of the folder, split by hash."""
        return index_folder(raw_dir, "folder")
