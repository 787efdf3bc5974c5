"""One head: an ellipsoid with relief, painted, turned, lit and projected.

The front of the head is a height field over the plane (u, v): u to the right, v down, one unit
being half the height from crown to chin. Rotation is undone per output pixel by a fixed-point
search on that height field, so noses really move against cheeks.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from dfbench.synth.identity import Identity

Plane = Float[np.ndarray, "height width"]
Picture = Float[np.ndarray, "height width channels"]

UNIT = 96.0  # grid points per unit
_LEFT, _TOP, _RIGHT, _BOTTOM = -1.05, -1.25, 1.05, 1.15
_DEPTH = 0.8  # half depth of the head
_PIVOT = 0.35  # depth of the axis of rotation under the surface of the face
_STEPS = 4  # of the fixed-point search


@dataclass(frozen=True, kw_only=True)
class Expression:
    """What a face does at one moment."""

    lids: float = 1.0  # 1 open, 0 shut
    mouth: float = 0.0  # opening, 0 to 1
    gaze: tuple[float, float] = (0.0, 0.0)  # of the irises, in eye widths


@dataclass(frozen=True, kw_only=True)
class Pose:
    """Where a head is: angles in radians, centre in px, scale in px a unit."""

    yaw: float
    pitch: float
    roll: float
    center: tuple[float, float]
    scale: float


@dataclass(frozen=True, kw_only=True)
class Light:
    """One far lamp and the light of the surroundings, linear RGB."""

    direction: tuple[float, float, float]  # towards the lamp; x right, y down, z to the camera
    color: tuple[float, float, float]
    ambient: tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Head:
    """The maps of one identity over the (u, v) grid, float32.

    Attributes:
        identity: Whose head.
        paint: Linear albedo with occlusion, and gloss as fourth channel.
        normal: Unit normals, and coverage as fourth channel.
        depth: Height over the plane of the silhouette.
        inner: 1 inside the part of the face that swaps replace, falling to 0 at its border.
    """

    identity: Identity
    paint: Picture
    normal: Picture
    depth: Plane
    inner: Plane


@dataclass(frozen=True, kw_only=True)
class Layer:
    """A rendered head over a part of the frame.

    Attributes:
        rgb: Linear, not premultiplied.
        alpha: Coverage by head and hair.
        inner: See `Head.inner`.
        origin: Frame coordinates (x, y) of its first pixel.
    """

    rgb: Picture
    alpha: Plane
    inner: Plane
    origin: tuple[int, int]


def _step(x: Plane, width: float) -> Plane:
    """Return 0 below -width, 1 above width and a smooth rise between."""
    t = np.clip(x * np.float32(0.5 / width) + np.float32(0.5), 0, 1)
    return np.asarray(t * t * (3 - 2 * t), np.float32)


def _bump(u: Plane, v: Plane, at: tuple[float, float], radii: tuple[float, float]) -> Plane:
    du, dv = (u - at[0]) / radii[0], (v - at[1]) / radii[1]
    return np.asarray(np.exp(-(du * du + dv * dv)), np.float32)


def _grid(
    left: float = _LEFT, top: float = _TOP, right: float = _RIGHT, bottom: float = _BOTTOM
) -> tuple[Plane, Plane, tuple[slice, slice]]:
    """Return u and v over a part of the grid, and the part as slices."""
    x0, x1 = round((left - _LEFT) * UNIT), round((right - _LEFT) * UNIT)
    y0, y1 = round((top - _TOP) * UNIT), round((bottom - _TOP) * UNIT)
    u = (np.arange(x0, x1, dtype=np.float32) / UNIT + _LEFT).astype(np.float32)
    v = (np.arange(y0, y1, dtype=np.float32) / UNIT + _TOP).astype(np.float32)
    grid_u, grid_v = np.meshgrid(u, v)
    return grid_u, grid_v, (slice(y0, y1), slice(x0, x1))


def _noise(rng: np.random.Generator, shape: tuple[int, int], sigma: tuple[float, float]) -> Plane:
    """Return smooth noise of unit variance; `sigma` in grid points along u and v."""
    field = rng.standard_normal(shape, dtype=np.float32)
    field = cv2.GaussianBlur(field, (0, 0), sigma[0], sigmaY=sigma[1])
    return np.asarray(field / max(float(field.std()), 1e-6), np.float32)


def _relief(who: Identity, u: Plane, v: Plane) -> Plane:
    """Return what nose, brows, sockets, cheeks, lips and chin add to the ellipsoid."""
    au = np.abs(u)
    # The bridge rises from between the eyes to the tip and ends steeply below it.
    along = (v - who.eye_v) / (who.nose_v - who.eye_v)
    rise = np.clip(0.3 + 0.7 * along, 0, 1) * _step(v - who.eye_v + 0.05, 0.12)
    rise *= 1 - _step(v - who.nose_v - 0.03, 0.05)
    spread = who.nose_width * (0.45 + 0.35 * np.clip(along, 0, 1))
    z = who.nose_height * 0.8 * rise * np.exp(-((u / spread) ** 2))
    tip = (0.0, who.nose_v - 0.02)
    z += 0.3 * who.nose_height * _bump(u, v, tip, (who.nose_width * 0.6, 0.08))
    wings = (who.nose_width * 0.85, who.nose_v + 0.005)
    z += 0.35 * who.nose_height * _bump(au, v, wings, (0.055, 0.055))
    z += 0.05 * _bump(au, v, (who.eye_gap, who.brow_v + 0.01), (0.20, 0.06))
    z -= 0.10 * _bump(au, v, (who.eye_gap - 0.02, who.eye_v - 0.01), (0.17, 0.11))
    z += 0.035 * _bump(au, v, (who.eye_gap, who.eye_v), (0.13, 0.075))
    z += 0.06 * _bump(au, v, (0.45, 0.24), (0.17, 0.14))
    z -= 0.04 * _bump(au, v, (0.42, 0.60), (0.12, 0.2))
    z += 0.05 * _bump(u, v, (0.0, who.mouth_v), (0.24, 0.16))
    z += 0.03 * _bump(u, v, (0.0, who.mouth_v + 0.055), (who.mouth_width * 0.7, 0.04))
    z += 0.025 * _bump(u, v, (0.0, who.mouth_v - 0.04), (who.mouth_width * 0.7, 0.03))
    z -= 0.04 * _bump(u, v, (0.0, who.mouth_v + 0.14), (0.16, 0.045))
    z += 0.07 * _bump(u, v, (0.0, 0.88), (0.16, 0.10))
    return np.asarray(z, np.float32)


def build_head(who: Identity) -> Head:
    """Model and paint a head with open eyes missing: `render_head` adds eyes and mouth."""
    rng = np.random.default_rng(who.texture_seed)
    u, v, _ = _grid()
    au = np.abs(u)
    shape = (u.shape[0], u.shape[1])
    # The skull, and hair that stands out from it; the outline narrows towards the chin.
    narrow = who.width * (1 - who.jaw * np.clip(v, 0, 1.2) ** 2)
    strands = _noise(rng, shape, (0.8, 7.0)) + 0.6 * _noise(rng, shape, (3.0, 12.0))
    skull = 1 - (u / narrow) ** 2 - v**2
    shock = 1 - (u / (who.width + who.hair_volume)) ** 2 - ((v + 0.02) / (1 + who.hair_volume)) ** 2
    temple = who.hairline + 0.9 * np.clip(au / who.width, 0, 1.3) ** 5 + 0.012 * strands
    hair = 1 - _step(v - temple, 0.03)
    hair = np.maximum(hair, _step(au - who.width * 0.93 + 0.01 * strands, 0.03))
    hair *= 1 - _step(v - who.hair_length + 0.02 * strands, 0.05)
    body = np.where(hair > 0.5, shock, skull)
    alpha = _step(np.maximum(skull, shock - 2 * (hair <= 0.5)), 0.03)
    # A rounded square root: the slope stays finite at the outline, where the search needs it.
    depth = _DEPTH * np.sqrt(0.5 * (body + np.sqrt(body**2 + 0.01)))
    bare = 1 - hair
    depth = depth + bare * _relief(who, u, v) + 0.05 * hair
    depth = cv2.GaussianBlur(depth.astype(np.float32), (0, 0), 1.2)

    pores = _noise(rng, shape, (0.7, 0.7)) + 0.7 * _noise(rng, shape, (1.6, 1.6))
    mottle = _noise(rng, shape, (8.0, 8.0))
    paint = _skin(who, u, v, pores, mottle, rng)
    paint = _grow(who, paint, u, v, pores, strands)
    comb = np.exp(0.35 * strands)[..., None] * np.asarray(who.hair, np.float32)
    paint = paint + hair[..., None] * (comb - paint)
    hollow = cv2.GaussianBlur(depth, (0, 0), 5.0) - depth
    paint *= np.clip(np.exp(-9.0 * np.clip(hollow, -0.015, 0.1)), 0.35, 1.15)[..., None]

    detail = depth + np.float32(0.0009 * who.roughness) * pores * bare + 0.004 * strands * hair
    grad_v, grad_u = np.gradient(detail.astype(np.float32), 1 / UNIT)
    normal = np.stack([-grad_u, -grad_v, np.ones_like(u)], axis=-1)
    normal /= np.linalg.norm(normal, axis=-1, keepdims=True)
    gloss = 0.35 * bare + 0.25 * hair + 0.2 * _bump(u, v, (0.0, who.mouth_v), (0.2, 0.08))
    inner = 1 - (u / (who.width * 0.78)) ** 2 - ((v - 0.22) / 0.66) ** 2
    return Head(
        identity=who,
        paint=np.dstack([paint, gloss]).astype(np.float32),
        normal=np.dstack([normal, alpha]).astype(np.float32),
        depth=depth,
        inner=(_step(inner, 0.12) * bare).astype(np.float32),
    )


def _skin(
    who: Identity, u: Plane, v: Plane, pores: Plane, mottle: Plane, rng: np.random.Generator
) -> Picture:
    """Return skin with blush, pores, freckles and moles, linear RGB."""
    au = np.abs(u)
    tone = np.exp(0.05 * mottle + 0.055 * who.roughness * pores)
    if who.freckles > 0:
        spots = _noise(rng, (u.shape[0], u.shape[1]), (1.3, 1.3))
        tone *= 1 - who.freckles * _step(spots - 1.5, 0.4) * _bump(au, v, (0.3, 0.25), (0.4, 0.25))
    for at_u, at_v in rng.uniform((-0.5, -0.4), (0.5, 0.85), (int(rng.integers(0, 4)), 2)):
        tone *= 1 - 0.55 * _step(1 - ((u - at_u) ** 2 + (v - at_v) ** 2) / 0.018**2, 0.5)
    skin = tone[..., None] * np.asarray(who.skin, np.float32)
    blush = 0.5 * _bump(au, v, (0.42, 0.28), (0.17, 0.14)) + 0.5 * _bump(
        u, v, (0.0, who.nose_v), (0.12, 0.10)
    )
    skin = skin * (1 - blush[..., None] * np.asarray((0.0, 0.22, 0.24), np.float32))
    shade = 0.28 * _bump(au, v, (who.eye_gap, who.eye_v - 0.02), (0.19, 0.10))
    return np.asarray(skin * (1 - shade[..., None]), np.float32)


def _grow(
    who: Identity, paint: Picture, u: Plane, v: Plane, pores: Plane, strands: Plane
) -> Picture:
    """Paint nostrils, brows and beard."""
    au = np.abs(u)
    nostril = _bump(au, v, (who.nose_width * 0.5, who.nose_v + 0.045), (0.042, 0.02))
    paint = paint * (1 - 0.75 * nostril[..., None])
    t = (au - who.eye_gap - 0.01) / (who.eye_width * 1.35)
    middle = who.brow_v - who.brow_arch * (1 - (t - 0.25) ** 2)
    thick = who.brow_thickness * np.clip(1.15 - 0.45 * np.clip(t + 0.4, 0, 2), 0.2, 1)
    brow = _step(1 - ((v - middle) / thick) ** 2 + 0.25 * strands, 0.7) * _step(1 - t * t, 0.25)
    hair = np.asarray(who.hair, np.float32) * 0.8
    paint = paint + 0.82 * brow[..., None] * (hair - paint)
    if who.beard > 0:
        region = _step(v - 0.45 - 0.12 * (1 - au / who.width), 0.15) * _step(
            ((v - who.mouth_v) / 0.13) ** 2 + (u / (who.mouth_width * 1.05)) ** 2 - 1, 0.2
        )
        cover = who.beard * region * np.clip(0.75 + 0.25 * pores, 0, 1)
        paint = paint + cover[..., None] * (hair - paint)
    return np.asarray(paint, np.float32)


def _express(head: Head, now: Expression) -> tuple[Picture, Picture]:
    """Paint eyes and mouth; return paint and normals."""
    who = head.identity
    paint, normal = head.paint.copy(), head.normal
    for side in (-1.0, 1.0):
        _paint_eye(who, paint, now, side)
    _paint_mouth(who, paint, now)
    return paint, normal


def _paint_eye(who: Identity, paint: Picture, now: Expression, side: float) -> None:
    at = side * who.eye_gap
    reach = who.eye_width * 1.35
    u, v, part = _grid(at - reach, who.eye_v - 0.15, at + reach, who.eye_v + 0.13)
    t = (u - at) / who.eye_width
    arch = np.clip(1 - t * t, 0, 1)
    lean = who.eye_v - 0.012 * side * t
    upper = lean - who.eye_height * (1.25 * now.lids - 0.25) * arch**0.7
    lower = lean + who.eye_height * 0.6 * arch
    inside = _step(v - upper, 0.012) * _step(lower - v, 0.012) * _step(1 - np.abs(t), 0.06)
    gaze_u = at + now.gaze[0] * who.eye_width
    gaze_v = who.eye_v - 0.012 + now.gaze[1] * who.eye_width
    radius = np.sqrt((u - gaze_u) ** 2 + (v - gaze_v) ** 2)
    ball = np.full((*u.shape, 3), (0.62, 0.58, 0.55), np.float32)
    ball *= (1 - 0.45 * np.abs(t)[..., None] ** 2) * (
        1 - 0.5 * np.exp(-(((v - upper) / 0.03) ** 2))[..., None]
    )
    iris = np.asarray(who.iris, np.float32) * (0.6 + 6.0 * radius[..., None])
    ball += _step(0.066 - radius, 0.010)[..., None] * (iris - ball)
    ball *= 1 - 0.95 * _step(0.028 - radius, 0.008)[..., None]
    spark = _bump(u, v, (gaze_u + 0.022, gaze_v - 0.024), (0.012, 0.012))
    ball += spark[..., None] * (0.9 - ball)
    crease = np.exp(-(((v - upper + 0.045) / 0.012) ** 2)) * arch
    lash = np.exp(-(((v - upper) / 0.014) ** 2)) * _step(1.08 - np.abs(t), 0.1)
    under = np.exp(-(((v - lower - 0.006) / 0.010) ** 2)) * _step(1 - np.abs(t), 0.1)
    skin = paint[part][..., :3] * (1 - 0.35 * crease)[..., None]
    skin = skin + inside[..., None] * (ball - skin)
    skin = skin * (1 - 0.85 * lash - 0.30 * under)[..., None]
    paint[part][..., :3] = skin
    paint[part][..., 3] *= 1 - 0.7 * inside


def _paint_mouth(who: Identity, paint: Picture, now: Expression) -> None:
    reach = who.mouth_width * 1.25
    u, v, part = _grid(-reach, who.mouth_v - 0.14, reach, who.mouth_v + 0.2)
    t = u / who.mouth_width
    arch = np.clip(1 - t * t, 0, 1)
    line = who.mouth_v - 0.012 * (1 - arch)
    gap = 0.075 * now.mouth * arch
    bow = 1 - 0.28 * np.exp(-((t / 0.12) ** 2))
    top = line - 0.75 * who.lip * bow * arch**0.65
    bottom = line + gap + who.lip * arch**0.6
    lips = _step(v - top, 0.014) * _step(bottom - v, 0.016) * _step(1 - np.abs(t), 0.08)
    hole = _step(v - line, 0.008) * _step(line + gap - v, 0.008) * _step(gap - 0.006, 0.004)
    seam = np.exp(-(((v - line) / 0.011) ** 2)) * _step(1.02 - np.abs(t), 0.05)
    skin = paint[part][..., :3]
    red = skin * np.asarray((0.86, 0.55, 0.55), np.float32)
    red = red * (1 - 0.25 * _step(line - v, 0.02))[..., None]
    skin = skin + 0.9 * lips[..., None] * (red - skin)
    skin = skin * (1 - 0.65 * seam * (1 - hole))[..., None]
    teeth = np.clip(1.0 - (v - line) / 0.035, 0, 1)[..., None] * np.float32(0.42)
    dark = np.asarray((0.05, 0.015, 0.012), np.float32) + teeth
    paint[part][..., :3] = skin + hole[..., None] * (dark - skin)


def render_head(
    head: Head, now: Expression, pose: Pose, light: Light, frame: tuple[int, int]
) -> Layer:
    """Turn, light and project a head into a frame of `frame` = (height, width) px."""
    paint, normal = _express(head, now)
    reach, (left, top) = pose.scale, pose.center
    x0, y0 = max(int(left - 1.02 * reach), 0), max(int(top - 1.22 * reach), 0)
    x1, y1 = min(int(left + 1.02 * reach), frame[1]), min(int(top + 1.22 * reach), frame[0])
    map_x, map_y = _unproject(head.depth, (x0, y0, x1, y1), pose)
    flags = cv2.INTER_LINEAR
    # The grid is finer than the frame: soften before sampling, so that strands do not shimmer.
    stacked = cv2.remap(_prefilter(paint, pose.scale), map_x, map_y, flags)
    turned = cv2.remap(normal, map_x, map_y, flags)
    inner = cv2.remap(head.inner, map_x, map_y, flags)
    rgb = _shade(stacked, turned, _rotation(pose), light)
    return Layer(rgb=rgb, alpha=turned[..., 3], inner=inner, origin=(x0, y0))


def _prefilter(paint: Picture, scale: float) -> Picture:
    sigma = 0.35 * max(UNIT / scale - 0.8, 0.0)
    if sigma < 0.1:
        return paint
    return np.asarray(cv2.GaussianBlur(paint, (0, 0), sigma))


def _rotation(pose: Pose) -> Float[np.ndarray, "3 3"]:
    """Return the matrix from the head's axes to the camera's."""
    cy, sy = np.cos(pose.yaw), np.sin(pose.yaw)
    cp, sp = np.cos(pose.pitch), np.sin(pose.pitch)
    cr, sr = np.cos(pose.roll), np.sin(pose.roll)
    turn = np.asarray([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    nod = np.asarray([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    tilt = np.asarray([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return np.asarray(tilt @ turn @ nod, np.float32)


def _unproject(depth: Plane, box: tuple[int, int, int, int], pose: Pose) -> tuple[Plane, Plane]:
    """Return for each pixel of a box (x0, y0, x1, y1) the grid point that is seen there.

    The maps are smooth: they are searched for at every second pixel, then interpolated.
    """
    x0, y0, x1, y1 = box
    columns, rows = (x1 - x0) // 2 + 2, (y1 - y0) // 2 + 2
    scale = np.float32(1 / pose.scale)
    x, y = np.meshgrid(
        (2 * np.arange(columns, dtype=np.float32) + np.float32(x0 - pose.center[0])) * scale,
        (2 * np.arange(rows, dtype=np.float32) + np.float32(y0 - pose.center[1])) * scale,
    )
    (cr, cy, cp), (sr, sy, sp) = (
        [np.float32(f(angle)) for angle in (pose.roll, pose.yaw, pose.pitch)]
        for f in (np.cos, np.sin)
    )
    p, q = cr * x + sr * y, cr * y - sr * x
    u, v = p, q
    unit, left, top = np.float32(UNIT), np.float32(_LEFT), np.float32(_TOP)
    for _ in range(_STEPS):
        z = cv2.remap(depth, (u - left) * unit, (v - top) * unit, cv2.INTER_LINEAR)
        z -= np.float32(_PIVOT)
        v = (q + z * sp) / cp
        u = (p - (v * sp + z * cp) * sy) / cy
    maps = np.dstack([(u - left) * unit, (v - top) * unit])
    # Pixel k lies at k / 2 of the coarse maps.
    halve = np.asarray([[0.5, 0, 0], [0, 0.5, 0]], np.float32)
    size = (x1 - x0, y1 - y0)
    full = cv2.warpAffine(maps, halve, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)
    return full[..., 0], full[..., 1]


def _shade(
    paint: Picture, normal: Picture, rotation: Float[np.ndarray, "3 3"], light: Light
) -> Picture:
    """Return Lambert's law with a soft terminator, light of the sky and a highlight (Blinn)."""
    lamp = np.asarray(light.direction, np.float32)
    lamp = lamp / np.linalg.norm(lamp)
    half = lamp + np.asarray((0, 0, 1), np.float32)
    half = half / np.linalg.norm(half)
    # Turning three directions is cheaper than turning a normal per pixel.
    aims = np.zeros((3, 4), np.float32)
    aims[:, :3] = np.stack([lamp, half, np.asarray((0, 1, 0), np.float32)]) @ rotation
    toward = cv2.transform(normal, aims)
    diffuse = np.clip((toward[..., 0] + np.float32(0.25)) / np.float32(1.25), 0, 1)
    sky = np.float32(0.75) - np.float32(0.25) * toward[..., 2]
    shine = cv2.pow(np.clip(toward[..., 1], 0, 1), 16) * paint[..., 3] * np.float32(0.28)
    # lit = paint * (diffuse * lamp + sky * ambient) + shine * lamp, a channel at a time
    channels = [
        cv2.multiply(paint[..., k], diffuse * np.float32(lamp_k) + sky * np.float32(sky_k))
        + shine * np.float32(lamp_k)
        for k, (lamp_k, sky_k) in enumerate(zip(light.color, light.ambient, strict=True))
    ]
    return np.asarray(cv2.merge(channels), np.float32)
