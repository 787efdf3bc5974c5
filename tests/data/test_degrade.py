"""Degraded crops: what each kind does, and that it is the same wherever it is done."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from support.photos import prepare_photos, write_photos

from dfbench.data.degrade import degrade, noise_of
from dfbench.data.pipeline import eval_batches
from dfbench.data.prepared import Prepared
from dfbench.data.view import split_view
from dfbench.degradations import Degradation, parse_degradations

SIDE = 48


def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def picture() -> np.ndarray:
    """A picture as smooth as a face, whose channels differ, and no square."""
    grid = np.random.default_rng(1).integers(0, 256, (8, 6, 3), dtype=np.uint8)
    return cv2.resize(grid, (36, SIDE), interpolation=cv2.INTER_CUBIC)


def done(text: str, image: np.ndarray) -> np.ndarray:
    (one,) = parse_degradations([text], "test")
    return degrade(image, one, rng())


@pytest.mark.parametrize("text", ["jpeg:50", "blur:1.5", "resize:0.5", "noise:5"])
def test_size_and_type_stay_and_the_image_is_not_changed(text: str) -> None:
    image = picture()
    before = image.copy()
    found = done(text, image)
    assert (found.shape, found.dtype) == (image.shape, np.uint8)
    assert (found != image).any()
    np.testing.assert_array_equal(image, before)


@pytest.mark.parametrize(
    "sweep", ["jpeg:95+70+30+5", "blur:0.5+1+2+4", "resize:0.75+0.5+0.25+0.1", "noise:1+4+16+64"]
)
def test_what_is_stronger_loses_more(sweep: str) -> None:
    image = picture()
    errors = [
        float(np.square(degrade(image, one, rng()).astype(float) - image).mean())
        for one in sorted(parse_degradations([sweep], "test"), key=lambda d: d.order)
    ]
    assert errors == sorted(errors)
    assert errors[0] > 0


def test_jpeg_is_that_of_the_codec_and_keeps_red_red() -> None:
    image = picture()
    flags = [cv2.IMWRITE_JPEG_QUALITY, 30]
    _, data = cv2.imencode(".jpg", image[..., ::-1], flags)
    expected = cv2.imdecode(data, cv2.IMREAD_COLOR)[..., ::-1]
    np.testing.assert_array_equal(done("jpeg:30", image), expected)
    grey = np.repeat(image[..., :1], 3, axis=2)  # colours it keeps at half the resolution
    assert np.abs(done("jpeg:100", grey).astype(int) - grey).max() <= 2
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    assert np.abs(done("jpeg:90", red).astype(int) - red).max() < 8


def test_blur_of_a_point_is_a_gaussian() -> None:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    image[SIDE // 2, SIDE // 2] = 255
    sigma = 1.5
    found = done("blur:1.5", image)
    away = np.arange(SIDE) - SIDE // 2
    weights = np.exp(-np.square(away) / (2 * sigma**2))
    weights /= weights.sum()
    expected = 255 * np.outer(weights, weights)[..., None]
    assert np.abs(found - expected).max() < 0.6  # rounding, and the cut tails
    np.testing.assert_array_equal(found, cv2.GaussianBlur(image, (0, 0), sigma))


def test_resize_averages_and_1_changes_nothing() -> None:
    image = picture()
    np.testing.assert_array_equal(done("resize:1", image), image)
    blocks = np.kron(picture()[:24, :18], np.ones((2, 2, 1), np.uint8))
    shrunk = cv2.resize(blocks, (18, 24), interpolation=cv2.INTER_AREA)
    np.testing.assert_array_equal(shrunk, picture()[:24, :18])  # what halving has to find
    expected = cv2.resize(shrunk, (36, 48), interpolation=cv2.INTER_LINEAR)
    np.testing.assert_array_equal(done("resize:0.5", blocks), expected)
    tiny = done("resize:0.02", image)  # one pixel is left
    assert (tiny == tiny[0, 0]).all()
    assert np.abs(tiny[0, 0] - image.mean((0, 1))).max() <= 1


def test_noise_has_its_sigma_and_is_clipped() -> None:
    grey = np.full((128, 128, 3), 128, np.uint8)
    noise = done("noise:5", grey).astype(float) - 128
    assert abs(noise.mean()) < 0.1
    assert noise.std() == pytest.approx(5, rel=0.02)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.03
    black = done("noise:50", np.zeros((64, 64, 3), np.uint8))
    assert 0.45 < (black == 0).mean() < 0.55


def test_noise_belongs_to_the_frame_of_a_clip() -> None:
    grey = np.full((16, 16, 3), 128, np.uint8)
    one = Degradation("noise", 5)

    def of(dataset: str, video: str, frame: int) -> bytes:
        return degrade(grey, one, noise_of(dataset, video, frame)).tobytes()

    assert of("a", "a/real/1", 3) == of("a", "a/real/1", 3)
    others = [of("a", "a/real/1", 4), of("a", "a/real/2", 3), of("a", "a/fake/1", 3)]
    assert len({of("a", "a/real/1", 3), *others}) == 4
    # Of two folders a clip of the same name is another one.
    assert of("folder:x", "folder/real/1", 0) != of("folder:y", "folder/real/1", 0)


def test_an_unknown_kind_is_a_fault() -> None:
    with pytest.raises(ValueError, match="mirror:1"):
        degrade(picture(), Degradation("mirror", 1), rng())


# --- in the pipeline ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def crops(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    root = tmp_path_factory.mktemp("degrade")
    return prepare_photos(write_photos(root / "mine", real=20, fake=20), root / "data")


def scored(crops: Prepared, degradation: str = "", size: int = 8) -> np.ndarray:
    """Return the images that a network would see, in order."""
    view = split_view([crops], "train")
    one = parse_degradations([degradation], "test")[0] if degradation else None
    batches = list(eval_batches(view, batch_size=size, degradation=one))
    kept = np.concatenate([batch["mask"] for batch in batches]) == 1
    return np.concatenate([batch["image"] for batch in batches])[kept]


@pytest.mark.parametrize("text", ["jpeg:30", "noise:5"])
def test_batches_do_not_matter(crops: Prepared, text: str) -> None:
    whole = scored(crops, text, size=64)
    clean = scored(crops)
    assert (whole != clean).any((1, 2, 3)).all()  # every crop
    for size in (1, 7):
        np.testing.assert_array_equal(scored(crops, text, size=size), whole)


def test_each_crop_has_noise_of_its_own(crops: Prepared) -> None:
    # Where nothing is clipped.
    noise = scored(crops, "noise:3").astype(int) - scored(crops)
    assert len({one.tobytes() for one in noise}) == len(noise)
