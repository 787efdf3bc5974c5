"""Writing short videos whose bytes depend on nothing but their frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
from jaxtyping import UInt8

from dfbench.files import whole

FPS = 25
AVX512 = 256  # OpenCV's number of it


@dataclass(frozen=True, kw_only=True)
class Encoding:
    """Codec of PyAV and its options."""

    codec: str
    options: tuple[tuple[str, str], ...]


def h264(crf: int) -> Encoding:
    """Return H.264 at a constant rate factor (0 best to 51 worst)."""
    options = [("crf", str(crf)), ("preset", "veryfast")]
    # With AVX-512, x264 looks ahead over memory that it has not written: the same frames give other
    # bytes each time.
    if cv2.checkHardwareSupport(AVX512):
        options.append(("x264-params", "asm=avx2"))
    return Encoding(codec="libx264", options=tuple(options))


def mpeg4(quantizer: int) -> Encoding:
    """Return MPEG-4 part 2 at a fixed quantizer (1 best to 31 worst)."""
    return Encoding(codec="mpeg4", options=(("qmin", str(quantizer)), ("qmax", str(quantizer))))


def write_video(
    path: Path, frames: Sequence[UInt8[np.ndarray, "height width 3"]], encoding: Encoding
) -> None:
    """Write RGB frames of even sides to an MP4 file, atomically.

    One encoder thread and no creation date: equal frames give equal bytes.
    """
    height, width = frames[0].shape[:2]
    options = {"fflags": "+bitexact"}
    with whole(path) as unfinished, av.open(unfinished, "w", format="mp4", options=options) as file:
        stream = file.add_stream(encoding.codec, rate=FPS, options=dict(encoding.options))
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, FPS)
        stream.codec_context.thread_count = 1
        for image in frames:
            picture = av.VideoFrame.from_ndarray(image, format="rgb24")
            file.mux(stream.encode(picture))
        file.mux(stream.encode(None))
