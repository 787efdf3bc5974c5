"""The two forgeries: a face swap, and a face synthesised anew and blended in.

Both end with the same flaw, a face with less fine detail and sensor noise than its surroundings;
each has marks of its own beside it. That makes detectors transfer between them, but badly.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from dfbench.synth.face import Layer, Picture, Plane
from dfbench.synth.scene import Camera, expose, layer_part


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """Marks of one forged clip.

    Attributes:
        shrink: Resolution of the made face over that of the frame.
        match: How far its colours are brought to those of the target, 0 to 1.
        feather: Softness of the seam, px.
        grow: By how much the mask is widened, px; negative narrows it.
        grid: Amplitude of the up-sampling pattern, of 255.
        flicker: Change of brightness from frame to frame, of 255.
        tint: Colour left over, of 255 a channel.
    """

    shrink: float
    match: float
    feather: float
    grow: float
    grid: float
    flicker: float
    tint: tuple[float, float, float]


def swap_marks(rng: np.random.Generator) -> Forgery:
    """Draw a swap: low resolution, colours that are off, a visible seam."""
    tint = rng.normal(0, 5, 3)
    return Forgery(
        shrink=float(rng.uniform(0.42, 0.6)),
        match=float(rng.uniform(0.75, 0.95)),
        feather=float(rng.uniform(1.2, 3.0)),
        grow=float(rng.uniform(-1, 3)),
        grid=0.0,
        flicker=0.0,
        tint=(float(tint[0]), float(tint[1]), float(tint[2])),
    )


def blend_marks(rng: np.random.Generator) -> Forgery:
    """Draw a synthesis: an up-sampling grid, flicker, a wide soft border, colours matched."""
    return Forgery(
        shrink=float(rng.uniform(0.5, 0.7)),
        match=1.0,
        feather=float(rng.uniform(6.0, 10.0)),
        grow=float(rng.uniform(0, 4)),
        grid=float(rng.uniform(3.0, 6.0)),
        flicker=float(rng.uniform(1.0, 3.0)),
        tint=(0.0, 0.0, 0.0),
    )


def forge_frame(
    target: Picture,
    face: Layer,
    donor: Layer,
    camera: Camera,
    marks: Forgery,
    rng: np.random.Generator,
) -> Picture:
    """Return the filmed frame `target` (0-255) with the donor's face in place of the target's.

    `face` and `donor` are both heads rendered at the same pose, so they need no alignment.
    """
    part = layer_part(face)
    here = target[part]
    mask = _mask(face.inner * donor.inner, marks)
    made = _synthesise(expose(donor.rgb, camera), marks)
    made = _match_colors(made, here, mask, marks.match)
    made += np.asarray(marks.tint, np.float32) + np.float32(marks.flicker * rng.normal())
    if marks.grid > 0:
        made += np.float32(marks.grid) * _upsampling_grid(mask)[..., None]
    frame = target.copy()
    frame[part] = here + mask[..., None] * (made - here)
    return frame


def _mask(inner: Plane, marks: Forgery) -> Plane:
    """Widen the overlap of two faces and soften its border."""
    soft = cv2.GaussianBlur(np.where(inner > 0.5, 1, 0).astype(np.float32), (0, 0), 4.0)
    # On a blurred edge of sigma 4 px the level falls by about a tenth of a px.
    hard = np.clip((soft - (0.5 - 0.1 * marks.grow)) * 8 + 0.5, 0, 1).astype(np.float32)
    return np.asarray(cv2.GaussianBlur(hard, (0, 0), marks.feather), np.float32)


def _synthesise(face: Picture, marks: Forgery) -> Picture:
    """Return the face at the resolution of a generator, brought back to that of the frame."""
    height, width = face.shape[:2]
    small = cv2.resize(face, None, fx=marks.shrink, fy=marks.shrink, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR))


def _match_colors(made: Picture, here: Picture, mask: Plane, match: float) -> Picture:
    """Bring mean and spread of each channel to those of the target (Reinhard et al., 2001)."""
    inside = (mask > 0.5).astype(np.uint8)
    mean, spread = (value[:, 0] for value in cv2.meanStdDev(made, mask=inside))
    goal, goal_spread = (value[:, 0] for value in cv2.meanStdDev(here, mask=inside))
    gain = 1 + match * (np.clip(goal_spread / np.maximum(spread, 1), 0.6, 1.6) - 1)
    offset = mean + match * (goal - mean) - gain * mean
    return np.asarray(made * gain.astype(np.float32) + offset.astype(np.float32), np.float32)


def _upsampling_grid(like: Plane) -> Plane:
    """Return the checkerboard of a transposed convolution, period 4 px (Odena et al., 2016)."""
    rows = np.where(np.arange(like.shape[0]) % 4 < 2, 1, -1).astype(np.float32)
    columns = np.where(np.arange(like.shape[1]) % 4 < 2, 1, -1).astype(np.float32)
    return np.asarray(rows[:, None] * columns, np.float32)
