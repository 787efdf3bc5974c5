"""Pictures, videos and sound of every kind, as bytes: good ones that say odd things."""

from __future__ import annotations

import io
import struct
import tempfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import UInt8
from PIL import Image

Frames = Sequence[UInt8[np.ndarray, "height width 3"]]

WIDTH, HEIGHT, FRAMES = 64, 48, 12


def noise(width: int = WIDTH, height: int = HEIGHT, seed: int = 0) -> UInt8[np.ndarray, "h w 3"]:
    """Return smooth colour noise."""
    small = np.random.default_rng(seed).integers(0, 256, (8, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (width, height)), np.uint8)


def picture(kind: str, image: Image.Image | None = None, **options: object) -> bytes:
    """Return a picture as Pillow's format `kind`."""
    out = io.BytesIO()
    (image or Image.fromarray(noise())).save(out, kind, **options)
    return out.getvalue()


def video(
    kind: str = "mp4",
    codec: str = "mpeg4",
    frames: Frames | None = None,
    *,
    aspect: Fraction | None = None,
    flags: str = "",
) -> bytes:
    """Return a video in FFmpeg's container `kind`; `aspect` is that of its pixels."""
    frames = [noise(seed=i) for i in range(FRAMES)] if frames is None else frames
    options = {"fflags": "+bitexact"} | ({"movflags": flags} if flags else {})
    with _written(kind, options) as (file, out):
        stream = file.add_stream(codec, rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.height, stream.width = frames[0].shape[:2] if frames else (HEIGHT, WIDTH)
        stream.pix_fmt = {"mjpeg": "yuvj420p", "gif": "rgb8"}.get(codec, "yuv420p")
        stream.codec_context.thread_count = 1
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        file.start_encoding()  # without a frame nothing else does
        for image in frames:
            file.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        file.mux(stream.encode(None))
    return out[0]


def jpegs(pictures: Sequence[bytes], width: int, height: int) -> bytes:
    """Return a Matroska video of pictures that are JPEGs already, whatever they hold."""
    with _written("matroska", {"fflags": "+bitexact"}) as (file, out):
        stream = file.add_stream("mjpeg", rate=25)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuvj420p"
        for number, data in enumerate(pictures):
            packet = av.Packet(data)
            packet.stream, packet.pts, packet.dts = stream, number, number
            packet.time_base, packet.is_keyframe = Fraction(1, 25), True
            file.mux(packet)
    return out[0]


@contextmanager
def _written(
    kind: str, options: dict[str, str]
) -> Iterator[tuple[av.container.OutputContainer, list[bytes]]]:
    """Open a file to write to; afterwards its bytes are in the list."""
    out: list[bytes] = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file"
        with av.open(str(path), "w", format=kind, options=options) as file:
            yield file, out
        out.append(path.read_bytes())


def sound(kind: str, codec: str) -> bytes:
    """Return half a second of a tone, and no picture."""
    with _written(kind, {"fflags": "+bitexact"}) as (file, out):
        stream = file.add_stream(codec, rate=16000)
        assert isinstance(stream, av.AudioStream)
        wave = (8000 * np.sin(np.arange(8000) / 20)).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(wave, format="s16", layout="mono")
        frame.sample_rate = 16000
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return out[0]


def patched(data: bytes, tag: bytes, offset: int, value: bytes) -> bytes:
    """Return data with other bytes, `offset` behind the end of a tag."""
    at = data.index(tag) + len(tag) + offset
    return data[:at] + value + data[at + len(value) :]


def rotated(data: bytes, degrees: int) -> bytes:
    """Return an MP4 whose header says that players turn it clockwise."""
    one, minus = 1 << 16, -(1 << 16)
    a, b, c, d = {90: (0, one, minus, 0), 180: (minus, 0, 0, minus), 270: (0, minus, one, 0)}[
        degrees
    ]
    matrix = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    return patched(data, b"tkhd", 40, matrix)


def png(width: int, height: int, rows: bytes, *, bits: int = 8, colour: int = 2) -> bytes:
    """Return a PNG of raw rows, which may be fewer than it says."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    parts = (b"IHDR", header), (b"IDAT", zlib.compress(rows, 1)), (b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(*part) for part in parts)
