"""Who is seen: the numbers that make one rendered face differ from another."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

Color = tuple[float, float, float]  # linear RGB, 0 to 1

# Linear albedo of skin from fair to deep, and of hair, irises and shirts.
_SKIN: tuple[Color, ...] = (
    (0.74, 0.51, 0.40),
    (0.66, 0.43, 0.31),
    (0.60, 0.37, 0.25),
    (0.50, 0.30, 0.19),
    (0.38, 0.22, 0.14),
    (0.28, 0.16, 0.10),
)
_HAIR: tuple[Color, ...] = (
    (0.02, 0.016, 0.014),
    (0.05, 0.028, 0.016),
    (0.12, 0.06, 0.03),
    (0.26, 0.15, 0.07),
    (0.45, 0.32, 0.16),
    (0.30, 0.29, 0.28),
)
_IRIS: tuple[Color, ...] = (
    (0.05, 0.025, 0.012),
    (0.09, 0.05, 0.02),
    (0.08, 0.12, 0.05),
    (0.08, 0.16, 0.24),
)


@dataclass(frozen=True, kw_only=True)
class Identity:
    """A face; lengths in units of half the height from crown to chin, v pointing down."""

    texture_seed: int  # of pores, freckles and strands
    skin: Color
    hair: Color
    iris: Color
    shirt: Color
    width: float  # half width of the head at the cheekbones
    jaw: float  # how much narrower the jaw is, 0 to 1
    eye_gap: float  # distance of an eye's centre from the middle
    eye_v: float
    eye_width: float  # half width
    eye_height: float  # half height when open
    brow_v: float
    brow_thickness: float
    brow_arch: float
    nose_v: float  # of the tip
    nose_width: float
    nose_height: float
    mouth_v: float
    mouth_width: float  # half width
    lip: float  # thickness of the lower lip
    hairline: float  # v of the hairline in the middle
    hair_volume: float
    hair_length: float  # v down to which hair falls at the sides
    beard: float  # 0 none to 1 full
    freckles: float
    roughness: float  # contrast of pores and wrinkles


def make_identity(*seed: int) -> Identity:
    """Return the face that belongs to a seed of one or more non-negative integers."""
    rng = np.random.default_rng(seed)

    def between(low: float, high: float) -> float:
        return float(rng.uniform(low, high))

    def tinted(colors: tuple[Color, ...], spread: float) -> Color:
        position = between(0, len(colors) - 1)
        at = min(int(position), len(colors) - 2)
        near, far = np.asarray(colors[at]), np.asarray(colors[at + 1])
        mixed = (near + (position - at) * (far - near)) * rng.uniform(1 - spread, 1 + spread, 3)
        return (float(mixed[0]), float(mixed[1]), float(mixed[2]))

    long_hair = rng.random() < 0.45
    eye_v = between(0.0, 0.06)
    return Identity(
        texture_seed=int(rng.integers(2**31)),
        skin=tinted(_SKIN, 0.05),
        hair=tinted(_HAIR, 0.15),
        iris=tinted(_IRIS, 0.2),
        shirt=(between(0.03, 0.6), between(0.03, 0.6), between(0.03, 0.6)),
        width=between(0.68, 0.77),
        jaw=between(0.12, 0.34),
        eye_gap=between(0.28, 0.33),
        eye_v=eye_v,
        eye_width=between(0.125, 0.155),
        eye_height=between(0.052, 0.075),
        brow_v=eye_v - between(0.16, 0.20),
        brow_thickness=between(0.026, 0.05),
        brow_arch=between(0.02, 0.07),
        nose_v=between(0.38, 0.45),
        nose_width=between(0.10, 0.15),
        nose_height=between(0.16, 0.25),
        mouth_v=between(0.60, 0.66),
        mouth_width=between(0.21, 0.28),
        lip=between(0.05, 0.085),
        hairline=between(-0.68, -0.52),
        hair_volume=between(0.05, 0.14),
        hair_length=between(0.7, 1.3) if long_hair else between(-0.15, 0.1),
        beard=0.0 if long_hair or rng.random() < 0.55 else between(0.3, 0.9),
        freckles=between(0.0, 0.5) if rng.random() < 0.3 else 0.0,
        roughness=between(0.6, 1.2),
    )
