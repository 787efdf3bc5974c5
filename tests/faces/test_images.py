from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from support.hostile import corpus

from dfbench.faces import images
from dfbench.faces.images import UnreadableError, read_image

RED = (200, 30, 10)


def picture(mode: str) -> Image.Image:
    image = Image.new("RGB", (20, 10), RED)
    return image.quantize(4) if mode == "P" else image.convert(mode)


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.png", "RGB"), ("a.png", "RGBA"), ("a.png", "P"), ("a.jpg", "CMYK"), ("a.bmp", "RGB")],
)
def test_colour_survives_every_mode(tmp_path: Path, name: str, mode: str) -> None:
    picture(mode).save(tmp_path / name)
    image = read_image(tmp_path / name)
    assert image.shape == (10, 20, 3)
    assert image.dtype == np.uint8
    np.testing.assert_allclose(image[5, 5].astype(int), RED, atol=3)  # JPEG rounds


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, mode: str) -> None:
    Image.new("L", (6, 6), 255).convert(mode).save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 255).all()


def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(ramp).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    np.testing.assert_allclose(image[:, :, 0].ravel().astype(int), np.arange(256), atol=1)


def test_every_grey_of_sixteen_bits_is_rounded(tmp_path: Path) -> None:
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    Image.fromarray(values).save(tmp_path / "a.png")
    nearest = (2 * values.astype(np.int64) + 257) // 514
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[:, :, 1], nearest)


def test_sixteen_bit_colour(tmp_path: Path) -> None:
    import cv2

    values = np.full((8, 8, 3), (10 * 257, 30 * 257, 200 * 257), np.uint16)  # BGR
    assert cv2.imwrite(str(tmp_path / "a.png"), values)
    np.testing.assert_array_equal(read_image(tmp_path / "a.png")[0, 0], [200, 30, 10])


def test_transparent_parts_are_white(tmp_path: Path) -> None:
    rgba = Image.new("RGBA", (4, 4), (*RED, 0))
    rgba.save(tmp_path / "a.png")
    assert (read_image(tmp_path / "a.png") == 255).all()


def test_exif_orientation_is_applied(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10), "black")
    image.paste((255, 255, 255), (0, 0, 10, 10))  # the left half is white
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    image.save(tmp_path / "a.jpg", exif=exif, quality=95)
    upright = read_image(tmp_path / "a.jpg")
    assert upright.shape == (20, 10, 3)
    assert upright[:8].mean() > 240  # left became top
    assert upright[12:].mean() < 15


def test_first_picture_of_an_animation(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (8, 8), c) for c in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "a.gif")[0, 0], [255, 0, 0])


def test_reasons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "text.png").write_text("this is no picture")
    rng = np.random.default_rng(0)
    Image.fromarray(rng.integers(0, 255, (80, 80, 3), np.uint8)).save(tmp_path / "whole.jpg")
    data = (tmp_path / "whole.jpg").read_bytes()
    (tmp_path / "cut.jpg").write_bytes(data[: len(data) // 2])
    for name, reason in {
        "empty.jpg": "empty file",
        "text.png": "not an image",
        "cut.jpg": "truncated",
    }.items():
        with pytest.raises(UnreadableError, match=reason):
            read_image(tmp_path / name)
    monkeypatch.setattr(images, "MAX_PIXELS", 6399)
    with pytest.raises(UnreadableError, match="too large"):
        read_image(tmp_path / "whole.jpg")


def test_no_program_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow hands PostScript to Ghostscript, whatever the file is called."""
    (tmp_path / "a.jpg").write_bytes(next(f.data for f in corpus() if f.name == "program.jpg"))

    def run(*arguments: object, **options: object) -> None:
        raise AssertionError("a program is run")

    monkeypatch.setattr("subprocess.check_call", run)
    monkeypatch.setattr("subprocess.Popen", run)
    with pytest.raises(UnreadableError, match="not an image"):
        read_image(tmp_path / "a.jpg")


def test_reasons_of_parsers_are_one_short_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")

    def stumble(image: Image.Image) -> None:
        raise KeyError("a\nb\x1b" + "x" * 500)

    monkeypatch.setattr(images, "_upright_rgb", stumble)
    with pytest.raises(UnreadableError) as caught:
        read_image(tmp_path / "a.png")
    assert str(caught.value).startswith("cannot decode image: KeyError: 'a")
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 250


def test_a_vast_file_is_not_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture" * 10)
    monkeypatch.setattr(images, "MAX_BYTES", 99)
    with pytest.raises(UnreadableError, match=r"image too large \(100 bytes\)"):
        read_image(tmp_path / "a.png")
