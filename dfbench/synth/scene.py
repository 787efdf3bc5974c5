"""One clip: room, body, motion and light around a head, and the camera that films it."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from jaxtyping import Float

from dfbench.synth.face import Expression, Head, Layer, Light, Picture, Pose, render_head

_SIZES = ((320, 240), (336, 256), (352, 272), (368, 280))  # (width, height), px


@dataclass(frozen=True, kw_only=True)
class Moment:
    """What one frame shows."""

    pose: Pose
    expression: Expression
    light: Light
    drift: tuple[float, float]  # of the background, px


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A clip before it is rendered; `room` is larger than the frame by `MARGIN` on each side."""

    size: tuple[int, int]  # (height, width), px
    room: Picture  # linear RGB
    moments: tuple[Moment, ...]


@dataclass(frozen=True, kw_only=True)
class Camera:
    """Optics and sensor of one clip."""

    blur: float  # px, standard deviation
    noise: float  # of 255
    grain: float  # correlation of the noise, px
    gains: tuple[float, float, float]
    gamma: float
    sharpen: float


MARGIN = 12
SPARE = 64  # px that a field of noise is larger than the frame


def make_scene(rng: np.random.Generator, frames: int) -> Scene:
    """Draw room, path of the head, expression and light of a clip."""
    width, height = _SIZES[int(rng.integers(len(_SIZES)))]
    room = _make_room(rng, height + 2 * MARGIN, width + 2 * MARGIN)
    scale = float(height * rng.uniform(0.315, 0.365))
    center = (width * rng.uniform(0.42, 0.58), height * rng.uniform(0.46, 0.50))
    yaw, pitch = _wave(rng, frames, 0.12, 0.10), _wave(rng, frames, 0.05, 0.05)
    roll, zoom = _wave(rng, frames, 0.04, 0.03), _wave(rng, frames, 0.01, 0.012)
    x, y = _wave(rng, frames, 0.0, 5.0), _wave(rng, frames, 0.0, 3.0)
    drift_x, drift_y = _wave(rng, frames, 0.0, 3.5), _wave(rng, frames, 0.0, 2.0)
    talk = np.clip(_wave(rng, frames, 0.2, 0.6, speed=3.0), 0, 1) * (rng.random() < 0.6)
    gaze_x, gaze_y = _wave(rng, frames, 0.08, 0.08), _wave(rng, frames, 0.03, 0.03)
    blink = int(rng.integers(0, 3 * frames))  # mostly outside the clip
    lids = [1 - 0.7 * float(np.exp(-(((k - blink) / 1.2) ** 2))) for k in range(frames)]
    flicker = _wave(rng, frames, 0.0, 0.03)
    side, above = rng.uniform(-0.8, 0.8), rng.uniform(-0.8, -0.15)
    warm = rng.uniform(-0.08, 0.08)
    power, fill = rng.uniform(0.75, 1.05), rng.uniform(0.28, 0.48)
    moments = tuple(
        Moment(
            pose=Pose(
                yaw=yaw[k],
                pitch=pitch[k],
                roll=roll[k],
                center=(center[0] + x[k], center[1] + y[k]),
                scale=scale * (1 + zoom[k]),
            ),
            expression=Expression(lids=lids[k], mouth=float(talk[k]), gaze=(gaze_x[k], gaze_y[k])),
            light=_light(side, above, power * (1 + flicker[k]), fill, warm),
            drift=(drift_x[k], drift_y[k]),
        )
        for k in range(frames)
    )
    return Scene(size=(height, width), room=room, moments=moments)


def _light(side: float, above: float, power: float, fill: float, warm: float) -> Light:
    return Light(
        direction=(side, above, 1.0),
        color=(power * (1 + warm), power, power * (1 - warm)),
        ambient=(fill * (1 - warm), fill, fill * (1 + warm)),
    )


def _wave(
    rng: np.random.Generator, frames: int, offset: float, swing: float, speed: float = 1.0
) -> list[float]:
    """Return a slow curve around a constant that is drawn from +-offset."""
    base = rng.uniform(-offset, offset)
    phase, rate = rng.uniform(0, 2 * np.pi), speed * rng.uniform(0.3, 1.1)
    t = np.arange(frames) / 12.0
    curve = base + swing * rng.uniform(0.3, 1.0) * np.sin(2 * np.pi * rate * t + phase)
    return [float(value) for value in curve]


def _make_room(rng: np.random.Generator, height: int, width: int) -> Picture:
    """Paint a wall with a gradient, furniture out of focus and a fine texture."""
    wall = rng.uniform(0.08, 0.55) * rng.uniform(0.75, 1.25, 3)
    ramp_x, ramp_y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    ramp = 1 + rng.uniform(-0.3, 0.3) * ramp_x + rng.uniform(-0.3, 0.1) * ramp_y
    room = (ramp[..., None] * wall).astype(np.float32)
    for _ in range(int(rng.integers(3, 8))):
        x0, y0 = int(rng.uniform(-0.1, 0.95) * width), int(rng.uniform(-0.1, 0.9) * height)
        x1, y1 = x0 + int(rng.uniform(0.08, 0.4) * width), y0 + int(rng.uniform(0.1, 0.7) * height)
        color = rng.uniform(0.03, 0.6) * rng.uniform(0.7, 1.3, 3)
        cv2.rectangle(room, (x0, y0), (x1, y1), [float(c) for c in color], cv2.FILLED)
    room = cv2.GaussianBlur(room, (0, 0), float(rng.uniform(1.5, 5.0)))
    texture = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0), 1.0)
    return np.asarray(np.clip(room * np.exp(0.12 * texture)[..., None], 0, 1), np.float32)


def render_moment(scene: Scene, head: Head, moment: Moment) -> tuple[Picture, Layer]:
    """Return the frame in linear light, and the head that was put in."""
    height, width = scene.size
    pose, light = moment.pose, moment.light
    frame = cv2.getRectSubPix(
        scene.room,
        (width, height),
        (
            (width - 1) / 2 + MARGIN + moment.drift[0],
            (height - 1) / 2 + MARGIN + moment.drift[1],
        ),
    )
    _put_body(frame, head, pose, light)
    layer = render_head(head, moment.expression, pose, light, scene.size)
    part = layer_part(layer)
    frame[part] += layer.alpha[..., None] * (layer.rgb - frame[part])
    return frame, layer


def layer_part(layer: Layer) -> tuple[slice, slice]:
    """Return where in the frame a layer lies."""
    x, y = layer.origin
    return slice(y, y + layer.alpha.shape[0]), slice(x, x + layer.alpha.shape[1])


def _put_body(frame: Picture, head: Head, pose: Pose, light: Light) -> None:
    """Draw shoulders, hair behind the head, neck and ears."""
    who = head.identity
    lit = np.asarray(light.ambient) + 0.55 * np.asarray(light.color)

    def blob(at: tuple[float, float], radii: tuple[float, float], color: np.ndarray) -> None:
        mask = np.zeros(frame.shape[:2], np.uint8)
        center = (
            pose.center[0] + pose.scale * at[0],
            pose.center[1] + pose.scale * at[1],
        )
        axes = (pose.scale * radii[0], pose.scale * radii[1])
        cv2.ellipse(
            mask,
            (round(center[0] * 16), round(center[1] * 16)),
            (round(axes[0] * 16), round(axes[1] * 16)),
            float(np.degrees(pose.roll)),
            0,
            360,
            255,
            cv2.FILLED,
            cv2.LINE_AA,
            4,
        )
        y0, y1 = max(int(center[1] - axes[1]) - 3, 0), int(center[1] + axes[1]) + 4
        x0, x1 = max(int(center[0] - axes[0]) - 3, 0), int(center[0] + axes[0]) + 4
        part = frame[y0:y1, x0:x1]
        cover = mask[y0:y1, x0:x1, None].astype(np.float32) / np.float32(255)
        rows = np.linspace(1.1, 0.7, len(part), dtype=np.float32)[:, None, None]
        part += cover * (rows * color.astype(np.float32) - part)

    skin, hair = np.asarray(who.skin), np.asarray(who.hair)
    lean = 0.5 * pose.yaw
    if who.hair_length > 0.3:
        drop = who.hair_length
        blob((-lean, drop / 2 - 0.45), (who.width + 0.16, drop / 2 + 0.62), hair * lit * 0.8)
    blob((-lean * 0.5, 2.05), (1.5, 0.85), np.asarray(who.shirt) * lit)
    blob((-lean * 0.7, 0.95), (0.40, 0.55), skin * lit * 0.62)
    if who.hair_length < 0.3:
        for side in (-1.0, 1.0):
            blob((side * (who.width + 0.02) - lean * 0.6, 0.16), (0.07, 0.17), skin * lit * 0.8)


def expose(linear: Picture, camera: Camera) -> Picture:
    """Return a display-referred picture, 0 to 255; gamma 2 stands for sRGB's curve."""
    toned = cv2.pow(np.clip(linear, 0, 1), 0.5 * camera.gamma)
    return np.asarray(toned * (np.float32(255) * np.asarray(camera.gains, np.float32)), np.float32)


def film(frame: Picture, camera: Camera, noise: Picture, rng: np.random.Generator) -> Picture:
    """Return a 0-255 picture with the camera's blur, noise and sharpening.

    `noise` is the clip's field from `sensor_noise`; each frame takes another part of it.
    """
    height, width = frame.shape[:2]
    x, y = int(rng.integers(SPARE)), int(rng.integers(SPARE))
    here = noise[y : y + height, x : x + width]
    picture = cv2.GaussianBlur(frame, (0, 0), camera.blur) if camera.blur > 0.2 else frame
    picture = cv2.scaleAdd(here, camera.noise, picture)
    if camera.sharpen > 0:
        soft = cv2.GaussianBlur(picture, (5, 5), 1.2)
        picture = cv2.addWeighted(picture, 1 + camera.sharpen, soft, -camera.sharpen, 0)
    return np.asarray(np.clip(picture, 0, 255, out=picture), np.float32)


def sensor_noise(
    rng: np.random.Generator, shape: tuple[int, int], grain: float
) -> Float[np.ndarray, "height width 3"]:
    """Return noise of unit variance, mostly in luma, `SPARE` px larger than `shape`."""
    height, width = shape[0] + SPARE, shape[1] + SPARE
    luma = rng.standard_normal((height, width), dtype=np.float32)
    if grain > 0.2:
        luma = cv2.GaussianBlur(luma, (0, 0), grain)
        luma /= max(float(luma.std()), 1e-6)
    chroma = rng.standard_normal((height // 2 + 1, width // 2 + 1, 3), dtype=np.float32)
    chroma = cv2.resize(chroma, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(luma[..., None] + np.float32(0.5) * chroma, np.float32)
