"""Celeb-DF, version 2; see README.md."""

from __future__ import annotations

from pathlib import Path

from dfbench.data.builder import FaceBuilder
from dfbench.data.celebdf import celebdf_parts, index_celebdf
from dfbench.data.raw import Index, Part


class Builder(FaceBuilder):
    """890 real and 5,639 fake videos of celebrities."""

    @classmethod
    def parts(cls, variant: str) -> tuple[Part, ...]:
        """Name the three folders."""
        del variant
        return celebdf_parts(real=590, youtube=300, fake=5639)

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the clips; the official list gives the test split."""
        return index_celebdf(raw_dir, "celebdf", cls.parts(variant), test_real=178, test_fake=340)
