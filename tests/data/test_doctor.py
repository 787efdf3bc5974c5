"""What `dfbench doctor` says of miniatures with known faults."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support.raw import MINIATURES, Pool

from dfbench.cli import main
from dfbench.data.doctor import Diagnosis, diagnose, diagnosis_text, recognise
from dfbench.data.spec import parse_spec
from dfbench.errors import UserError


def doctor(text: str, raw: Path) -> list[Diagnosis]:
    return diagnose(parse_spec(text)[0], raw)


def test_each_miniature_is_usable(miniature: tuple[str, Path]) -> None:
    name, raw = miniature
    (found,) = doctor(name, raw)
    assert found.usable, found.problem
    assert f"dfbench prepare {found.name} --raw {raw}" in found.advice
    assert sum(found.clips.values()) > 0
    assert not any(part.empty for part in found.parts)
    if "/" not in name:  # the other layouts look the same to FaceForensics++'s other compressions
        assert recognise(raw)[0].split("/")[0] == name or name in ("celebdf", "celebdf_v1", "dfd")


def test_uadfv_faults_are_named(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["uadfv"](tmp_path, pool)
    (tmp_path / "real/0002.mp4").unlink()
    (tmp_path / "real/0002.mp4").touch()
    (tmp_path / "real/notes.txt").write_text("mine")
    (tmp_path / "fake.zip.crdownload").touch()
    (found,) = doctor("uadfv", tmp_path)
    real, fake = found.parts
    assert (real.present, real.official, fake.present) == (6, 49, 5)
    assert real.copies == ("0003 (1).mp4",)
    assert real.strangers == ("notes.txt",)
    assert real.empty == ("0002.mp4",)
    assert len(real.missing) == 43
    assert "0005_fake.mp4" in fake.missing
    assert found.unpacked == ("fake.zip.crdownload",)
    assert found.advice == "download the empty files again"
    text = diagnosis_text(found)
    assert "6 of 49 clips" in text
    assert "1 copies: 0003 (1).mp4" in text


def test_a_partial_download_says_what_it_covers(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["dfdc"](tmp_path / "dfdc", pool)
    (found,) = doctor("dfdc", tmp_path / "dfdc")
    there = [part.folder for part in found.parts if part.there]
    assert there == ["dfdc_train_part_0", "dfdc_train_part_7", "test"]
    assert found.absent["test/real"] == 2498
    assert found.excluded == {"not in its metadata.json": 2}
    assert not any(part.strangers for part in found.parts)
    MINIATURES["ffpp/c23"](tmp_path / "ffpp", pool)
    usable = {one.name: one.usable for one in doctor("ffpp", tmp_path / "ffpp")}
    assert usable == {"ffpp/c23": True, "ffpp/c40": True, "ffpp/raw": False}


def test_another_dataset_is_recognised(tmp_path: Path, pool: Pool) -> None:
    MINIATURES["celebdf"](tmp_path, pool)
    (found,) = doctor("uadfv", tmp_path)
    assert not found.usable
    assert "this looks like celebdf" in found.advice


def test_archives_are_to_be_unpacked(tmp_path: Path) -> None:
    (tmp_path / "Celeb-DF-v2.zip").touch()
    (found,) = doctor("celebdf", tmp_path)
    assert found.advice == "unpack Celeb-DF-v2.zip"


def test_the_command(tmp_path: Path, pool: Pool, capsys: pytest.CaptureFixture[str]) -> None:
    MINIATURES["uadfv"](tmp_path / "raw", pool)
    assert main(["doctor", "uadfv", "--raw", str(tmp_path / "raw")]) == 0
    assert "next: " in capsys.readouterr().out
    assert main(["doctor", "uadfv", "--raw", str(tmp_path / "raw"), "--json"]) == 0
    (found,) = json.loads(capsys.readouterr().out)
    assert found["parts"][0]["present"] == 6
    (tmp_path / "empty").mkdir()
    assert main(["doctor", "uadfv", "--raw", str(tmp_path / "empty")]) == 2
    assert "cannot be prepared as uadfv" in capsys.readouterr().err
    assert main(["doctor", "synth_swap", "--raw", str(tmp_path)]) == 2
    assert "has no download" in capsys.readouterr().err


def test_no_such_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such folder"):
        doctor("uadfv", tmp_path / "nowhere")
