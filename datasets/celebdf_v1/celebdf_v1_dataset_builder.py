"""Celeb-DF, version 1; see README.md."""

from __future__ import annotations

from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.celebdf import celebdf_parts, index_celebdf
from dfbench.data.raw import Index, Part


class Builder(FaceBuilder):
    """408 real and 795 fake videos of celebrities."""

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name the three folders."""
        del variant
        return celebdf_parts(real=158, youtube=250, fake=795)

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the clips; the official list gives the test split."""
        return index_celebdf(raw_dir, "celebdf_v1", cls.parts(variant), test_real=38, test_fake=62)
