"""The two forgeries: a face swap, and a face synthesised anew and blended in.

A part of the clips of either shows the same flaw, a face with less fine detail and sensor noise
than its surroundings; the others show a mark of their own: wrong colours within a visible seam, or
the grid of an up-sampling network. That makes detectors transfer between them, but badly.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from dfbench.synth.face import Layer, Picture, Plane
from dfbench.synth.scene import Camera, expose, film, layer_part

_SOFT_SWAPS, _SOFT_BLENDS = 0.4, 0.45  # share of clips with the common flaw


@dataclass(frozen=True, kw_only=True)
class Forgery:
    """Marks of one forged clip.

    Attributes:
        shrink: Resolution of the made face over that of the frame.
        noise: Share of the camera's noise that is put on the made face.
        match: How far its colours are brought to those of the target, 0 to 1.
        feather: Softness of the border, px.
        seam: Brightness of a line along the border, of 255.
        grow: By how much the mask is widened, px; negative narrows it.
        grid: Amplitude of the up-sampling pattern, of 255.
        flicker: Change of brightness from frame to frame, of 255.
        tint: Colour left over, of 255 a channel.
    """

    shrink: float
    noise: float
    match: float
    feather: float
    seam: float
    grow: float
    grid: float
    flicker: float
    tint: tuple[float, float, float]


def swap_marks(rng: np.random.Generator) -> Forgery:
    """Draw a swap: low resolution, or else colours that are clearly off and a strong seam."""
    soft = rng.random() < _SOFT_SWAPS
    color = rng.normal(0, 1, 3)
    color *= (rng.uniform(6, 12) if soft else rng.uniform(16, 26)) / np.linalg.norm(color)
    return Forgery(
        shrink=float(rng.uniform(0.34, 0.5)) if soft else 1.0,
        noise=0.0 if soft else 1.0,
        match=float(rng.uniform(0.75, 0.95)),
        feather=float(rng.uniform(1.0, 2.5)),
        seam=float(rng.choice((-1, 1)) * (rng.uniform(8, 16) if soft else rng.uniform(24, 40))),
        grow=float(rng.uniform(-1, 3)),
        grid=0.0,
        flicker=0.0,
        tint=(float(color[0]), float(color[1]), float(color[2])),
    )


def blend_marks(rng: np.random.Generator) -> Forgery:
    """Draw a synthesis: low resolution, or else a grid; flicker, a wide border, colours matched."""
    soft = rng.random() < _SOFT_BLENDS
    return Forgery(
        shrink=float(rng.uniform(0.5, 0.7)) if soft else 1.0,
        noise=0.0 if soft else 0.75,
        match=1.0,
        feather=float(rng.uniform(6.0, 10.0)),
        seam=0.0,
        grow=float(rng.uniform(0, 4)),
        grid=0.0 if soft else float(rng.uniform(8.0, 12.0)),
        flicker=float(rng.uniform(1.0, 3.0)),
        tint=(0.0, 0.0, 0.0),
    )


def forge_frame(
    target: Picture,
    face: Layer,
    donor: Layer,
    camera: Camera,
    noise: Picture,
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
    if marks.noise > 0:
        made = film(made, replace(camera, noise=camera.noise * marks.noise), noise, rng)
    made = _match_colors(made, here, mask, marks.match)
    made += np.asarray(marks.tint, np.float32) + np.float32(marks.flicker * rng.normal())
    if marks.grid > 0:
        made += np.float32(marks.grid) * _upsampling_grid(mask)[..., None]
    line = np.float32(4 * marks.seam) * mask * (1 - mask)
    frame = target.copy()
    frame[part] = here + mask[..., None] * (made - here) + line[..., None]
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
    if marks.shrink == 1:
        return face
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
