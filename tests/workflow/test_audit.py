from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from support.photos import CROP
from support.raw import MINIATURES, Pool
from workflow.conftest import Trained

from dfbench import cli
from dfbench.config import DataConfig
from dfbench.data.clips import clip_table
from dfbench.data.prepare import prepare
from dfbench.data.spec import parse_spec
from dfbench.workflow.preparation import prepare_spec


@pytest.fixture(scope="module")
def ffpp(pool: Pool, tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Arguments of an audit of the miniature of FaceForensics++ with itself."""
    root = tmp_path_factory.mktemp("audit")
    MINIATURES["ffpp/c23"](root / "raw", pool)
    (spec,) = parse_spec("ffpp/c23")
    data = DataConfig(detector="none", frames=2, crop_size=96)
    prepare(spec, data, data_dir=root / "data", raw=root / "raw", jobs=1)
    settings = ("detector=none", "frames=2", "crop_size=96")
    return [
        *("audit", "--train", "ffpp/c23:Deepfakes", "--eval", "ffpp/c23:Deepfakes"),
        *("--data-dir", str(root / "data")),
        *(part for text in settings for part in ("--set", f"data.{text}")),
    ]


def test_a_table_a_file_and_a_sheet(
    ffpp: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main([*ffpp, "--out", str(tmp_path / "out")]) == 0
    lines = capsys.readouterr().out.splitlines()
    rows = {line[:20].strip(): line[20:].split()[:2] for line in lines[2:8]}
    assert rows == {
        "the same clip": ["0", "0"],
        "exact duplicates": ["0", "0"],
        "near duplicates": ["0", "0"],
        "of one original": ["0", "0"],
        "cut from one video": ["1", "3"],
        "the same person": ["0", "0"],
    }
    assert "shared-source: ffpp/real/000, ffpp/real/004" in "\n".join(lines)
    assert "3 of 4 test clips share something with the training data; 0 are in it" in lines
    written = json.loads((tmp_path / "out" / "audit.json").read_text())
    found = {f["kind"]: f["clips"] for f in written["overlap"]["findings"]}
    assert found == dict.fromkeys(found, 0) | {"footage": 3}
    with Image.open(tmp_path / "out" / "audit.png") as image:
        assert image.size[0] > 900
    assert cli.main([*ffpp, "--out", str(tmp_path / "again"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == written
    for name in ("audit.json", "audit.png"):
        one, two = (tmp_path / folder / name for folder in ("out", "again"))
        assert one.read_bytes() == two.read_bytes()


def test_a_network_looks_for_what_is_alike(
    trained: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the training's own data nothing is alike across the splits; noisy copies are."""
    mine, rng = Path(trained.config.train.removeprefix("folder:")), np.random.default_rng(0)
    datasets = prepare_spec(trained.config.train, trained.config.data, trained.places)
    seen = clip_table(datasets, ["train"]).to_pylist()
    for label, kind in enumerate(("real", "fake")):
        (tmp_path / "copies" / "test" / kind).mkdir(parents=True)
        files = [row["video"].split("/", 1)[1] for row in seen if row["label"] == label][:3]
        for number, file in enumerate(files):
            image = cv2.imread(str(mine / file)) + rng.normal(0, 3, (CROP, CROP, 3))
            copy = tmp_path / "copies" / "test" / kind / f"{number}.png"
            assert cv2.imwrite(str(copy), np.clip(image, 0, 255).astype(np.uint8))
    for evaluated, alike in ((trained.config.train, 0), (f"folder:{tmp_path / 'copies'}", 6)):
        arguments = [
            *("audit", "--train", trained.config.train, "--eval", evaluated, "--json"),
            *("--model", str(trained.folder), "--data-dir", str(trained.places.data_dir)),
            *("--set", "data.detector=none", "--set", f"data.crop_size={CROP}", "--jobs", "1"),
            *("--out", str(tmp_path)),
        ]
        assert cli.main(arguments) == 0
        written = json.loads(capsys.readouterr().out)
        assert written["model"] == "meso4"
        found = {f["kind"]: f["clips"] for f in written["overlap"]["findings"]}
        assert (found["alike"], found["near"], found["exact"]) == (alike, alike, 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--train", "ffp", "--eval", "uadfv"], "did you mean 'ffpp'"),
        (["--train", "uadfv", "--eval", "uadfv"], "uadfv is not prepared"),
        (["--train", "uadfv", "--eval", "uadfv", "--model", "nowhere"], "no finished training"),
    ],
)
def test_wrong_input(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = ["--data-dir", str(tmp_path), "--out", str(tmp_path / "out"), "--set"]
    assert cli.main(["audit", *arguments, *home, "data.detector=none"]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert not (tmp_path / "out").exists()
