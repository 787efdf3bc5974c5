from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from flax import nnx
from PIL import Image
from support.raw import Pool
from support.weights import make_net, meso4_layers, write_keras
from workflow.conftest import Trained

from dfbench import cli
from dfbench.config import DataConfig
from dfbench.data.nearest import Metric
from dfbench.data.records import EncodedFaces
from dfbench.data.view import split_view
from dfbench.errors import UserError
from dfbench.faces import harris
from dfbench.faces.clip import SPLITS
from dfbench.faces.crop import cut, decode, inner_square, resize
from dfbench.faces.images import RGB
from dfbench.workflow.describe import find_describer
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.similar import Match, find_similar

DATA = DataConfig(detector="none", crop_size=96, frames=3)
METRICS: tuple[Metric, ...] = ("cosine", "euclidean")


@dataclass(frozen=True)
class Album:
    """A folder of rendered faces, four real images and three forged videos."""

    folder: Path
    places: Places

    @property
    def spec(self) -> str:
        return f"folder:{self.folder}"

    def find(self, queries: Sequence[RGB], **changes: Any) -> list[list[Match]]:
        arguments: dict[str, Any] = {"config": DATA, "places": self.places, **changes}
        return find_similar(queries, self.spec, **arguments)

    def face(self, number: int) -> RGB:
        """Return the crop of a real image, as it is stored."""
        return stored(self.spec, DATA, self.places, f"folder/real/{number}.jpg")


def stored(spec: str, data: DataConfig, places: Places, video: str) -> RGB:
    """Return a clip's first crop."""
    (dataset,) = prepare_spec(spec, data, places)
    for split in SPLITS:
        for row in dataset.frames(split).to_pylist():
            if row["video"] == video:
                return decode(EncodedFaces(dataset.folder, split).face(row["position"]))
    raise ValueError(video)


def write_album(folder: Path, pool: Pool, real: int = 4) -> Path:
    for number in range(real):
        pool.image(folder / "real" / f"{number}.jpg", number)
    for number in range(3):
        pool.place(folder / "fake" / f"{number}.mp4", number, fake=True)
    return folder


@pytest.fixture(scope="module")
def album(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> Album:
    root = tmp_path_factory.mktemp("similar")
    places = Places(data_dir=root / "data", runs_dir=root / "runs", jobs=1)
    return Album(write_album(root / "album", pool), places)


def test_what_is_in_the_set_is_found_first(album: Album) -> None:
    face = album.face(2)
    for metric in METRICS:
        (matches,) = album.find([face], metric=metric)
        first = matches[0]
        assert (first.rank, first.label, first.manipulation) == (1, 0, "real")
        assert first.video == "folder/real/2.jpg"
        assert first.dataset == "folder:album"
        assert first.similarity == pytest.approx(1, abs=1e-6)
        np.testing.assert_array_equal(decode(first.face), face)
        # The fake that was made of the same person's clip.
        assert matches[1].video == "folder/fake/2.mp4"
        assert matches[1].label == 1
        values = [match.similarity for match in matches]
        assert values == sorted(values, reverse=True)
        assert values[1] < 0.9999


def test_of_each_clip_one_crop_is_found(album: Album) -> None:
    (matches,) = album.find([album.face(0)], top=50)
    assert [match.rank for match in matches] == list(range(1, 8))
    assert len({match.video for match in matches}) == 7
    assert len(album.find([album.face(0)], top=3)[0]) == 3


def test_copies_find_their_original(album: Album) -> None:
    face = album.face(1)
    good, data = cv2.imencode(".jpg", face, [cv2.IMWRITE_JPEG_QUALITY, 40])
    assert good
    copies = [
        np.asarray(cv2.GaussianBlur(face, (0, 0), 1), np.uint8),
        np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8),
        np.asarray(cv2.resize(face, (200, 200)), np.uint8),
        np.pad(face, ((0, 0), (30, 30), (0, 0))),  # its middle square is the face
    ]
    for matches in album.find(copies):
        # The clip that its fake was made of is hardly further away, at this size.
        (found,) = [match for match in matches[:2] if match.video == "folder/real/1.jpg"]
        assert 0.97 < found.similarity <= 1


def test_a_second_query_uses_the_index(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And changed data have another one."""
    made = []
    original = harris.corner_vector

    def counted(image: RGB) -> np.ndarray:
        made.append(1)
        return original(image)

    monkeypatch.setattr(harris, "corner_vector", counted)
    places = Places(data_dir=tmp_path / "data", runs_dir=tmp_path, jobs=1)
    mine = Album(write_album(tmp_path / "album", pool), places)
    crops, clips = 4 + 3 * 3, 4 + 3
    query = [np.asarray(pool.frames(5)[0], np.uint8)]
    first = mine.find(query)
    assert len(made) == crops + 1
    made.clear()
    assert mine.find(query) == first
    assert len(made) == 1
    made.clear()
    mine.find(query, middle=True)
    assert len(made) == clips + 1
    made.clear()
    pool.image(mine.folder / "real" / "5.jpg", 5)
    (matches,) = mine.find(query)
    assert matches[0].video == "folder/real/5.jpg"
    assert len(made) > 1


def test_a_network_compares(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    config, places = trained.config, trained.places
    (dataset,) = prepare_spec(config.train, config.data, places)
    view = split_view([dataset], "test")
    video = str(view.text("video")[3])
    face = stored(config.train, config.data, places, video)
    for metric in METRICS:
        (matches,) = find_similar(
            *([face], config.train),
            metric=metric,
            top=4,
            config=config.data,
            places=places,
            run_dir=trained.folder,
        )
        assert matches[0].video == video
        assert matches[0].similarity == pytest.approx(1, abs=1e-3)
        assert matches[1].similarity < matches[0].similarity

    def fail(*_: object) -> None:
        raise AssertionError

    monkeypatch.setattr("dfbench.train.checkpoint.restore", fail)
    describer = find_describer(run_dir=trained.folder)  # an index that is there needs no network
    assert len(describer.of_view(view, places.data_dir)) == len(view)


def test_weights_are_part_of_the_recipe(tmp_path: Path) -> None:
    files = [
        write_keras(tmp_path / f"{number}.h5", meso4_layers(make_net("meso4", seed=seed)))
        for number, seed in enumerate((0, 1))
    ]
    recipes = [find_describer("meso4", str(file)).recipe for file in (*files, files[0])]
    assert recipes[0] == recipes[2] != recipes[1]


@pytest.mark.slow
def test_a_network_with_weights_of_a_file(pool: Pool, tmp_path: Path) -> None:
    """What it makes of a picture is what its head takes, as the weights say."""
    net = make_net("meso4")
    file = write_keras(tmp_path / "meso.h5", meso4_layers(net))
    pictures = [np.asarray(pool.frames(number)[0], np.uint8) for number in range(2)]
    vectors = find_describer("meso4", str(file)).of_images(pictures, 256)
    assert vectors.shape == (2, 1024)
    squares = [resize(cut(p, inner_square(*p.shape[:2])), 256) for p in pictures]
    expected = net.logits(np.stack(squares).astype(np.float32) / 255)
    head = nnx.merge(net.graphdef, net.params, net.batch_stats).head
    np.testing.assert_allclose(np.asarray(head(vectors, rngs=None)), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    ("by", "init", "message"),
    [
        ("haris", None, "did you mean 'harris'"),
        ("meso4", None, "--init FILE"),
        ("harris", "imagenet", "weights belong to a network"),
        ("meso4", "nowhere.h5", "nowhere.h5"),
    ],
)
def test_what_cannot_compare(by: str, init: str | None, message: str) -> None:
    with pytest.raises(UserError, match=message):
        find_describer(by, init)


# --- the command ----------------------------------------------------------------------------------


def arguments(album: Album, out: Path) -> list[str]:
    settings = (f"detector={DATA.detector}", f"crop_size={DATA.crop_size}", f"frames={DATA.frames}")
    return [
        *("--in", album.spec, "--data-dir", str(album.places.data_dir), "--jobs", "1"),
        *(part for text in settings for part in ("--set", f"data.{text}")),
        *("--out", str(out)),
    ]


def test_a_table_a_file_and_a_sheet(
    album: Album, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a folder with a picture, a video and a broken file."""
    queries = tmp_path / "queries"
    queries.mkdir()
    (queries / "a.jpg").write_bytes((album.folder / "real" / "3.jpg").read_bytes())
    (queries / "b.mp4").write_bytes((album.folder / "fake" / "1.mp4").read_bytes())
    (queries / "c.jpg").write_bytes(b"")
    out = tmp_path / "out"
    assert cli.main(["similar", str(queries), "--top", "4", *arguments(album, out)]) == 0
    printed = capsys.readouterr()
    assert "c.jpg: empty file (0 bytes); left out" in printed.err
    lines = printed.out.splitlines()
    assert lines[0] == str(queries / "a.jpg")
    assert lines[2].split() == [
        *("1", "1.0000", "real", "real", "folder:album"),
        lines[2].split()[5],
        *("folder/real/3.jpg", "0"),
    ]
    assert "searched: 13 crops of 7 clips, by harris, cosine" in printed.out
    written = json.loads((out / "similar.json").read_text())
    assert written["without_face"] == {str(queries / "c.jpg"): "empty file (0 bytes)"}
    first, second = written["queries"]
    assert [match["rank"] for match in first["matches"]] == [1, 2, 3, 4]
    assert first["matches"][0]["video"] == "folder/real/3.jpg"
    assert second["matches"][0]["video"] == "folder/fake/1.mp4"
    assert "face" not in first["matches"][0]
    with Image.open(out / "similar.png") as image:
        width, height = image.size  # a query and four matches, in two rows
        assert (round(width / 150, 1), round(height / 150, 1)) == pytest.approx((6.8, 4.6), abs=0.4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (["--top", "0"], "top 0: ask for at least 1"),
        (["--by", "meso4", "--checkpoint", "run"], "exclude each other"),
        (["--init", "imagenet"], "--by"),
        (["--in", "uadv"], "did you mean 'uadfv'"),
        (["--in", "uadfv"], "uadfv is not prepared"),
        (["--checkpoint", "nowhere"], "no finished training"),
        (["QUERY", "nowhere.jpg"], "nowhere.jpg: no such file"),
        (["QUERY", "broken.jpg"], "broken.jpg: not an image"),
        (["QUERY", "empty"], "no image or video in this folder"),
        (["QUERY", "notes.txt"], "notes.txt: not a video"),
    ],
)
def test_wrong_input(
    changes: list[str],
    message: str,
    album: Album,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("broken.jpg").write_bytes(b"no picture")
    Path("notes.txt").write_text("no video")
    Path("empty").mkdir()
    query = changes[1] if changes[0] == "QUERY" else str(album.folder / "real" / "0.jpg")
    more = [] if changes[0] == "QUERY" else changes
    assert cli.main(["similar", query, *arguments(album, tmp_path / "out"), *more]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.out == ""
    assert not (tmp_path / "out").exists()
