"""`sbi:PATH`: a person's own files as a dataset; see README.md."""

from __future__ import annotations

from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.raw import Index
from dfbench.faces.folders import index_real_folder


class Builder(FaceBuilder):
    """The user's own folder."""

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the files of the folder, split by hash."""
        del variant
        return Index(tuple(index_real_folder(raw_dir, "sbi")))
