"""Rendered faces whose 68 landmarks are known, and a dlib shape predictor trained on them."""

from __future__ import annotations

import functools
from pathlib import Path

import cv2
import numpy as np
from jaxtyping import Float

from dfbench.faces.images import RGB
from dfbench.synth.face import (
    _LEFT,
    _PIVOT,
    _TOP,
    UNIT,
    Expression,
    Head,
    Light,
    Pose,
    build_head,
    render_head,
)
from dfbench.synth.identity import Identity, make_identity

SIDE = 160  # px, of a crop
Points = Float[np.ndarray, "68 2"]


def points_of(head: Head, now: Expression, pose: Pose) -> Points:
    """Return where the 68 points of iBUG's scheme are in the frame, px."""
    plane = _plane_points(head.identity, now)
    at = (plane - (_LEFT, _TOP)) * UNIT
    depth = cv2.remap(head.depth, *at.astype(np.float32).T[:, :, None], cv2.INTER_LINEAR)[:, 0]
    solid = np.column_stack([plane, depth - _PIVOT])
    # The renderer's search undoes roll, then pitch, then yaw: the same the other way round.
    cy, sy, cp, sp = np.cos(pose.yaw), np.sin(pose.yaw), np.cos(pose.pitch), np.sin(pose.pitch)
    u, v, z = solid.T
    p, q = u * cy + (v * sp + z * cp) * sy, v * cp - z * sp
    cr, sr = np.cos(pose.roll), np.sin(pose.roll)
    turned = np.column_stack([cr * p - sr * q, sr * p + cr * q])
    return np.asarray(turned * pose.scale + pose.center)


def _plane_points(who: Identity, now: Expression) -> Points:
    """Return the points on the head's own plane: u to the right, v down."""
    v = 0.97 * np.sin(np.linspace(0.08, np.pi / 2, 9))
    side = who.width * (1 - who.jaw * v**2) * np.sqrt(1 - v**2)
    jaw = [*zip(-side, v, strict=True), *zip(side[-2::-1], v[-2::-1], strict=True)]
    t = np.linspace(0.9, -0.8, 5)  # outer end of a brow to its inner one
    brow_u = who.eye_gap + 0.01 + who.eye_width * 1.35 * t
    brow_v = who.brow_v - who.brow_arch * (1 - (t - 0.25) ** 2)
    brows = [*zip(-brow_u, brow_v, strict=True), *zip(brow_u[::-1], brow_v[::-1], strict=True)]
    bridge = [(0.0, b) for b in np.linspace(who.eye_v, who.nose_v, 4)]
    base = [(who.nose_width * x, who.nose_v + 0.05) for x in (-0.9, -0.45, 0.0, 0.45, 0.9)]
    t = np.array([1.0, 0.4, -0.4, -1.0, -0.4, 0.4])  # outer corner, over the upper lid, back below
    arch = 1 - t**2
    lid = np.where(np.arange(6) < 3, -(1.25 * now.lids - 0.25) * arch**0.7, 0.6 * arch)
    eye_u, eye_v = who.eye_gap + who.eye_width * t, who.eye_v + who.eye_height * lid
    right = list(zip(-eye_u, eye_v, strict=True))
    left = [(eye_u[i], eye_v[i]) for i in (3, 2, 1, 0, 5, 4)]
    return np.array([*jaw, *brows, *bridge, *base, *right, *left, *_mouth(who, now)])


def _mouth(who: Identity, now: Expression) -> list[tuple[float, float]]:
    gap = 0.075 * now.mouth

    def at(t: float, above: float) -> tuple[float, float]:
        return who.mouth_width * t, who.mouth_v + above * max(1 - t * t, 0.0) ** 0.6

    top, low = -0.75 * who.lip, gap + who.lip
    outer = [at(t, top) for t in (-1.0, -0.66, -0.33, 0.0, 0.33, 0.66, 1.0)]
    outer += [at(t, low) for t in (0.66, 0.33, 0.0, -0.33, -0.66)]
    inner = [at(t, 0.0) for t in (-0.9, -0.4, 0.0, 0.4, 0.9)]
    return [*outer, *inner, *(at(t, gap) for t in (0.4, 0.0, -0.4))]


@functools.lru_cache(maxsize=4)
def _head(person: int) -> Head:
    return build_head(make_identity(77, person))


def render_face(number: int, *, pictures: int = 1, side: int = SIDE) -> tuple[RGB, Points]:
    """Render crop `number` and return its landmarks; each person is in so many `pictures`."""
    rng = np.random.default_rng([77, number])
    head = _head(number // pictures)
    pose = Pose(
        yaw=float(rng.uniform(-0.12, 0.12)),
        pitch=float(rng.uniform(-0.06, 0.06)),
        roll=float(rng.uniform(-0.06, 0.06)),
        center=(side * float(rng.uniform(0.48, 0.52)), side * float(rng.uniform(0.42, 0.46))),
        scale=side * float(rng.uniform(0.48, 0.52)),
    )
    light = Light(
        direction=(float(rng.uniform(-0.5, 0.5)), -0.4, 1.0),
        color=(0.9, 0.9, 0.9),
        ambient=(0.4, 0.4, 0.4),
    )
    now = Expression(mouth=float(rng.uniform(0, 0.6)))
    layer = render_head(head, now, pose, light, (side, side))
    frame = np.full((side, side, 3), 0.2, np.float32)
    x, y = layer.origin
    part = frame[y : y + layer.alpha.shape[0], x : x + layer.alpha.shape[1]]
    part += layer.alpha[..., None] * (layer.rgb - part)
    frame += rng.normal(0, 0.01, frame.shape).astype(np.float32)
    picture = np.sqrt(np.clip(frame, 0, 1)) * 255
    return np.rint(picture).astype(np.uint8), points_of(head, now, pose)


def train_predictor(path: Path, numbers: range) -> Path:
    """Train a small shape predictor on rendered faces, and write it."""
    import dlib

    detect, images, shapes = dlib.get_frontal_face_detector(), [], []
    for number in numbers:
        image, points = render_face(number)
        places = dlib.points([dlib.point(*map(round, point)) for point in points.tolist()])
        images.append(image)
        shapes.append([dlib.full_object_detection(detect(image, 0)[0], places)])
    options = dlib.shape_predictor_training_options()
    options.cascade_depth, options.tree_depth, options.nu = 6, 3, 0.2
    options.num_trees_per_cascade_level, options.feature_pool_size = 60, 300
    options.oversampling_amount, options.num_threads, options.random_seed = 10, 1, "1"
    dlib.train_shape_predictor(images, shapes, options).save(str(path))
    return path
