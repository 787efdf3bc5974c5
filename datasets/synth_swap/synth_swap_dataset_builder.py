"""Embedded dataset `synth_swap`: rendered here, so nothing has to be downloaded."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from dfbench.data.builder import FaceBuilder
from dfbench.data.raw import Index
from dfbench.data.spec import Spec
from dfbench.faces.clip import CropRecipe
from dfbench.progress import Progress
from dfbench.synth.dataset import SYNTH_VERSION, index_rendered, render_dataset

NAME = "synth_swap"


class Builder(FaceBuilder):
    """Procedural faces; see README.md."""

    # Haar needs no model file, so the numbers are the same with and without a network.
    RECIPE = CropRecipe(detector="haar", frames=4)

    @classmethod
    def index(cls, raw_dir: Path, variant: str) -> Index:
        """List the rendered clips."""
        del variant
        return Index(tuple(index_rendered(raw_dir, NAME)))

    @classmethod
    def raw_dir(cls, spec: Spec, raw: Path | None, size: str, data_dir: Path) -> Path:
        """Return where the clips are rendered to."""
        del spec
        return raw or data_dir / "raw" / NAME / size

    @classmethod
    def raw_key(cls, size: str) -> str:
        """Return size and version of the renderer."""
        return f"{size}-{SYNTH_VERSION}"

    @classmethod
    def make_raw(
        cls, raw_dir: Path, size: Literal["tiny", "default"], progress: Progress | None
    ) -> bool:
        """Render the clips that are not there."""
        return render_dataset(NAME, size, raw_dir, progress=progress)
