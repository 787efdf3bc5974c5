"""A corpus of bad media files, made by a script: `cd tests; python -m support.hostile FOLDER`.

Damaged, mislabelled, oversized and lying files, and odd ones that are good. Seeds are fixed: what a
version of the encoders makes is the same each time.
"""

from __future__ import annotations

import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image
from support.odd_media import (
    HEIGHT,
    WIDTH,
    jpegs,
    noise,
    patched,
    picture,
    png,
    rotated,
    sound,
    video,
)

GOOD = ""  # it gives crops
ANY = "|"  # crops or a reason: what flipped bits and cuts leave depends on the decoder


@dataclass(frozen=True)
class Hostile:
    """A file, and what is right for it."""

    name: str
    data: bytes
    reason: str = ANY  # pattern of the reason why there is no crop

    @property
    def good(self) -> bool:
        """Tell whether it must give crops."""
        return self.reason == GOOD


def write_corpus(folder: Path) -> list[Hostile]:
    """Write all files into a folder, and return them."""
    folder.mkdir(parents=True, exist_ok=True)
    files = list(corpus())
    assert len({file.name for file in files}) == len(files)
    for file in files:
        (folder / file.name).write_bytes(file.data)
    return files


def corpus() -> Iterator[Hostile]:
    """Yield all files."""
    yield from _damaged()
    yield from _mislabelled()
    yield from _oversized_pictures()
    yield from _odd_pictures()
    yield from _odd_videos()
    yield from _lying_videos()


# --- damage ---------------------------------------------------------------------------------------


def _damaged() -> Iterator[Hostile]:
    whole = {
        "jpg": picture("JPEG"),
        "png": picture("PNG"),
        "gif": picture("GIF"),
        "mp4": video(flags="+faststart"),
        "mkv": video("matroska", "libx264"),
        "avi": video("avi", "mjpeg"),
    }
    for suffix, data in whole.items():
        yield Hostile(f"whole.{suffix}", data, GOOD)
        for tenth in range(1, 10):
            yield Hostile(f"cut-{tenth}0.{suffix}", data[: len(data) * tenth // 10])
        for seed in range(4):
            rng = np.random.default_rng(seed)
            bits = np.unpackbits(np.frombuffer(data, np.uint8))
            bits[rng.integers(0, bits.size, max(2, bits.size // 2000))] ^= 1
            yield Hostile(f"flipped-{seed}.{suffix}", np.packbits(bits).tobytes())
        yield Hostile(f"empty.{suffix}", b"", "^empty file")
        yield Hostile(f"zeros.{suffix}", bytes(4096), "^not an? (image|video)")
    yield Hostile("late-index.mp4", video()[:-100])
    yield Hostile("trailing.jpg", whole["jpg"] + bytes(10_000), GOOD)


def _mislabelled() -> Iterator[Hostile]:
    text = b"#!/bin/sh\necho this is no media file\n" * 40
    for suffix in ("jpg", "png", "tif", "mp4", "webm"):
        yield Hostile(f"text.{suffix}", text, "^not an? (image|video)")
    yield Hostile("video.jpg", video(), "^not an image")
    yield Hostile("png.jpg", picture("PNG"), GOOD)
    yield Hostile("jpeg.mp4", picture("JPEG"))
    yield Hostile("animation.mp4", video("gif", "gif"))
    yield Hostile("matroska.avi", video("matroska"), GOOD)
    yield Hostile("page.png", b"<!DOCTYPE html><title>Sign in</title>" * 50, "^not an image")
    yield Hostile("archive.mp4", b"PK\x03\x04" + bytes(500), "^not a video")
    # Programs and lists, which would run or open something else.
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    yield Hostile("program.jpg", script, "^not an image")
    yield Hostile("playlist.mp4", _playlist("whole.mp4"), "^not a video")
    yield Hostile("concat.mp4", b"ffconcat version 1.0\nfile whole.mp4\n", "^not a video")


def _playlist(file: str) -> bytes:
    lines = "#EXTM3U", "#EXT-X-TARGETDURATION:1", "#EXTINF:0.5,", file, "#EXT-X-ENDLIST"
    return "\n".join(lines).encode()


# --- pictures -------------------------------------------------------------------------------------


def _oversized_pictures() -> Iterator[Hostile]:
    too_large = "too large"
    yield Hostile("wide.png", png(20000, 1, bytes(60001)), GOOD)
    yield Hostile("tall.png", png(1, 20000, bytes(4 * 20000)), GOOD)
    yield Hostile("bomb-30mp.png", png(6000, 5000, bytes(18001 * 5000)), GOOD)
    yield Hostile("bomb-120mp.png", png(12000, 10000, bytes(1000)), too_large)
    yield Hostile("bomb-4gp.png", png(65500, 65500, bytes(1000)), too_large)
    jpeg = picture("JPEG")
    sides = struct.pack(">HH", 65500, 65500)
    yield Hostile("bomb.jpg", patched(jpeg, b"\xff\xc0", 3, sides), too_large)
    yield Hostile("bomb.gif", patched(picture("GIF"), b"GIF87a", 0, b"\xff\xff\xff\xff"), too_large)
    yield Hostile(
        "bomb.bmp", patched(picture("BMP"), b"BM", 16, b"\x00\x00\x01\x00" * 2), too_large
    )
    yield Hostile("bomb.ppm", b"P6 60000 60000 255\n" + bytes(100), too_large)
    # Pillow does not know these two; OpenCV does.
    hdr = b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20000 +X 20000\n" + bytes(100)
    yield Hostile("bomb-hdr.jpg", hdr, "too large")
    yield Hostile("bomb-sun.png", struct.pack(">8I", 0x59A66A95, 30000, 30000, 24, 0, 1, 0, 0), ANY)
    # Text that unpacks to 20 MB, in front of a small picture.
    text = b"zTXt", b"Comment\0\0" + zlib.compress(bytes(20_000_000), 9)
    chunk = struct.pack(">I", len(text[1])) + text[0] + text[1]
    chunk += struct.pack(">I", zlib.crc32(text[0] + text[1]))
    small = picture("PNG")
    yield Hostile("bomb-text.png", small[:33] + chunk + small[33:])


def _odd_pictures() -> Iterator[Hostile]:
    base = Image.fromarray(noise())
    yield Hostile("pixel.png", png(1, 1, b"\0abc"), GOOD)
    yield Hostile("pixel.jpg", picture("JPEG", base.resize((1, 1))), GOOD)
    yield Hostile("none.png", png(0, 0, b""), "image")
    others = [Image.fromarray(noise(seed=seed)) for seed in range(3)]
    yield Hostile("animated.gif", picture("GIF", base, save_all=True, append_images=others), GOOD)
    yield Hostile("animated.webp", picture("WEBP", base, save_all=True, append_images=others), GOOD)
    yield Hostile("animated.png", picture("PNG", base, save_all=True, append_images=others), GOOD)
    yield Hostile("no-frame.gif", b"GIF89a" + struct.pack("<HHBBB", 9, 9, 0, 0, 0) + b";", "image")
    yield Hostile("cmyk.jpg", picture("JPEG", base.convert("CMYK")), GOOD)
    yield Hostile("cmyk.tif", picture("TIFF", base.convert("CMYK")), GOOD)
    yield Hostile("lab.tif", picture("TIFF", base.convert("LAB")), GOOD)
    yield Hostile("alpha.png", picture("PNG", base.convert("RGBA")), GOOD)
    yield Hostile("grey-alpha.png", picture("PNG", base.convert("LA")), GOOD)
    yield Hostile("one-bit.png", picture("PNG", base.convert("1")), GOOD)
    palette = base.quantize(16)
    yield Hostile("palette-alpha.png", picture("PNG", palette, transparency=3), GOOD)
    grey = noise()[:, :, 0].astype(np.uint16) * 257
    yield Hostile("grey-16.png", picture("PNG", Image.fromarray(grey)), GOOD)
    rows = np.zeros((HEIGHT, 1 + 6 * WIDTH), np.uint8)
    rows[:, 1:] = noise(6 * WIDTH)[:, :, 0]
    yield Hostile("colour-16.png", png(WIDTH, HEIGHT, rows.tobytes(), bits=16), GOOD)
    yield Hostile("float.tif", picture("TIFF", Image.fromarray(grey.astype(np.float32))), GOOD)
    yield Hostile("whole-32.tif", picture("TIFF", Image.fromarray(grey.astype(np.int32))), GOOD)
    exif = Image.Exif()
    exif[0x0112] = 6
    yield Hostile("turned.jpg", picture("JPEG", base, exif=exif), GOOD)
    yield Hostile("bad-exif.jpg", picture("JPEG", base, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" * 3))


# --- videos ---------------------------------------------------------------------------------------


def _odd_videos() -> Iterator[Hostile]:
    one = [noise()]
    yield Hostile("no-frame.mp4", video(frames=[]), "^not a video|no frame")
    yield Hostile("no-frame.avi", video("avi", frames=[]), "^not a video|no frame")
    for kind, suffix in (("mp4", "mp4"), ("matroska", "mkv"), ("avi", "avi")):
        yield Hostile(f"one-frame.{suffix}", video(kind, frames=one), GOOD)
    yield Hostile("tiny.mp4", video(codec="libx264", frames=[noise(2, 2)] * 5), GOOD)
    yield Hostile("wide.mp4", video(frames=[noise(8000, 16)] * 3), GOOD)
    yield Hostile("odd-sides.webm", video("webm", "libvpx", [noise(63, 47)] * 5), GOOD)
    for aspect in (Fraction(2), Fraction(1, 2)):
        name = f"pixels-{aspect.numerator}-{aspect.denominator}.mp4"
        yield Hostile(name, video(codec="libx264", aspect=aspect), GOOD)
    yield Hostile("pixels-lie.mp4", video(codec="libx264", aspect=Fraction(60000, 1)), GOOD)
    for degrees in (90, 180, 270):
        yield Hostile(f"turned-{degrees}.mp4", rotated(video(), degrees), GOOD)
    yield Hostile("sound.mp4", sound("mp4", "aac"), "^not a video")
    yield Hostile("sound.mkv", sound("matroska", "libmp3lame"), "^not a video")
    yield Hostile("sound.avi", sound("avi", "libmp3lame"), "^not a video")
    # A stream whose pictures change their size.
    sizes = [*[noise()] * 4, *[noise(128, 96)] * 4, *[noise(32, 32)] * 4]
    data = [picture("JPEG", Image.fromarray(frame)) for frame in sizes]
    yield Hostile("sizes.mkv", jpegs(data, WIDTH, HEIGHT), GOOD)
    streams = [video("mpegts", "mpeg2video", [frame] * 6) for frame in sizes[::4]]
    yield Hostile("sizes.mpeg", b"".join(streams))
    yield Hostile("twice.mkv", video("matroska") * 2, GOOD)


def _lying_videos() -> Iterator[Hostile]:
    whole = video()
    for claimed in (3, 100, 2_000_000_000):
        name = f"claims-{claimed}-frames.mp4"
        yield Hostile(name, patched(whole, b"stsz", 8, struct.pack(">I", claimed)))
    constant = patched(whole, b"stsz", 4, struct.pack(">II", 1, 2_000_000_000))
    yield Hostile("constant-samples.mp4", constant)
    runs = patched(whole, b"stts", 8, struct.pack(">II", 0xFFFFFFFF, 1))
    yield Hostile("long-durations.mp4", runs)
    avi = video("avi", "mjpeg")
    yield Hostile("claims-frames.avi", patched(avi, b"avih", 20, struct.pack("<I", 2**31)), GOOD)
    yield Hostile("no-rate.avi", patched(avi, b"avih", 4, bytes(4)))
    # Pictures larger than any camera's, of almost no bytes.
    jpeg = patched(picture("JPEG"), b"\xff\xc0", 3, struct.pack(">HH", 16000, 16000))
    yield Hostile("bomb.mkv", jpegs([jpeg] * 5, 16000, 16000), "too large")
    yield Hostile("bomb-behind.mkv", jpegs([picture("JPEG"), *[jpeg] * 5], WIDTH, HEIGHT))
    sides = struct.pack("<II", 60000, 60000)
    yield Hostile("bomb-claim.avi", patched(avi, b"strf", 8, sides))
    yield Hostile("loop.mp4", looped(whole, 5_000), GOOD)


def looped(data: bytes, times: int) -> bytes:
    """Return an MP4 whose index shows its first frame over and over: hours, of a few bytes."""
    (first,) = struct.unpack(">I", data[data.index(b"stsz") + 16 :][:4])
    stsz = struct.pack(">I4sIII", 20, b"stsz", 0, first, times)
    (offset,) = struct.unpack(">I", data[data.index(b"stco") + 12 :][:4])
    chunks = struct.pack(">I4sII", 16 + 4 * times, b"stco", 0, times)
    chunks += struct.pack(">I", offset) * times
    tables = {
        b"stsz": stsz,
        b"stco": chunks,
        b"stsc": struct.pack(">I4sIIIII", 28, b"stsc", 0, 1, 1, 1, 1),
        b"stts": struct.pack(">I4sIIII", 24, b"stts", 0, 1, times, 512),
        b"stss": b"",
        b"ctts": b"",
    }
    for tag, table in tables.items():
        data = _replaced(data, tag, table)
    return data.replace(b"edts", b"free")  # which would end it where it ended before


def _replaced(data: bytes, tag: bytes, table: bytes) -> bytes:
    """Return an MP4, whose index is at its end, with another table; the boxes around it grow."""
    if tag not in data:
        return data
    at = data.index(tag) - 4
    (length,) = struct.unpack(">I", data[at : at + 4])
    out = bytearray(data[:at] + table + data[at + length :])
    for box in (b"moov", b"trak", b"mdia", b"minf", b"stbl"):
        start = out.index(box) - 4
        (size,) = struct.unpack(">I", out[start : start + 4])
        out[start : start + 4] = struct.pack(">I", size + len(table) - length)
    return bytes(out)


if __name__ == "__main__":
    written = write_corpus(Path(sys.argv[1]))
    print(f"{len(written)} files: {sys.argv[1]}")
