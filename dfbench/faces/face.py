"""A face in a frame, and what finds it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from dfbench.faces.images import RGB


@dataclass(frozen=True)
class Face:
    """A face found in a frame; coordinates in px, x to the right, y down."""

    box: tuple[float, float, float, float]  # x0 y0 x1 y1
    score: float  # in [0, 1]; 1 from Haar cascades, which give none
    # right eye, left eye, nose tip, mouth, right ear, left ear: as many as the detector has
    keypoints: tuple[tuple[float, float], ...] = ()

    @property
    def area(self) -> float:
        """Area of the box, px^2."""
        x0, y0, x1, y1 = self.box
        return (x1 - x0) * (y1 - y0)


Detector = Callable[[RGB], list[Face]]
