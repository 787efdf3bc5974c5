"""What the figures of one evaluated dataset are made from, and what they become."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float32, UInt8
from matplotlib.figure import Figure

from dfbench.config import ScoringConfig
from dfbench.eval.samples import Scores
from dfbench.eval.table import ScoreTable
from dfbench.eval.videos import VideoScores
from dfbench.report.figures.style import Format
from dfbench.results.card import ResultCard


@dataclass(frozen=True, eq=False)
class Crop:
    """The face that a row of the scores is about."""

    encoded: bytes
    kind: str  # "jpeg" or "png"
    image: UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """A card, the scores it was computed from, and what the prepared data add."""

    name: str  # of its folder
    card: ResultCard
    scores: Scores
    seconds: Float32[np.ndarray, " rows"]  # of each row in its video; NaN: not known
    crops: Mapping[int, Crop]  # by row
    no_crops: str = ""  # why there are none

    @property
    def scoring(self) -> ScoringConfig:
        """How frames became videos."""
        return self.scores.scoring

    @property
    def table(self) -> ScoreTable:
        """The scores of the frames."""
        return self.scores.table

    @property
    def videos(self) -> VideoScores:
        """The scores of the videos."""
        return self.scores.videos


@dataclass(frozen=True, kw_only=True, eq=False)
class Plate:
    """A figure with its title and caption, or the reason why there is none."""

    name: str  # of its file
    title: str
    caption: str = ""
    alt: str = ""
    figure: Figure | None = None
    reason: str = ""
    format: Format | None = None  # of its file, whatever was asked for

    def without(self, reason: str) -> Plate:
        """Return this, with the reason why there is no figure."""
        return replace(self, reason=reason)

    def showing(
        self, figure: Figure, alt: str, caption: str, format: Format | None = None
    ) -> Plate:
        """Return this with a figure."""
        return replace(self, figure=figure, alt=alt, caption=caption, format=format)
