from __future__ import annotations

import bz2
import dataclasses
import hashlib
from pathlib import Path

import pytest

from dfbench.classical.files import EMBEDDING, LANDMARKS, ModelFile, find_file
from dfbench.download import Checksum
from dfbench.errors import UserError
from dfbench.progress import Reporter

CONTENT = b"a model file" * 100


def _sha256(data: bytes) -> Checksum:
    return Checksum("sha256", hashlib.sha256(data).hexdigest())


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelFile:
    """A packed model file that can be fetched without a network."""
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(LANDMARKS.variable, raising=False)
    monkeypatch.setattr("dfbench.download.SCHEMES", ("file",))
    packed = bz2.compress(CONTENT)
    (tmp_path / "model.bz2").write_bytes(packed)
    return dataclasses.replace(
        LANDMARKS,
        url=(tmp_path / "model.bz2").as_uri(),
        fetched=_sha256(packed),
        content=_sha256(CONTENT),
    )


def test_fetched_once_unpacked_and_its_terms_said(source: ModelFile, tmp_path: Path) -> None:
    said: list[str] = []
    path, found = find_file(source, Reporter(say=said.append))
    assert path.read_bytes() == CONTENT
    assert found.sha256 == source.content.digest
    assert said == [f"fetched {source.what}: {source.terms}"]
    assert [p.name for p in path.parent.iterdir()] == [source.name]
    (tmp_path / "model.bz2").unlink()
    assert find_file(source) == (path, found)


@pytest.mark.parametrize("wrong", ["archive", "content"])
def test_what_is_not_the_expected_file_is_not_kept(source: ModelFile, wrong: str) -> None:
    name = {"archive": "fetched", "content": "content"}[wrong]
    other = dataclasses.replace(source, **{name: _sha256(b"another")})
    with pytest.raises(UserError, match="not the expected"):
        find_file(other)
    assert not source.path.is_file()


def test_without_a_network_one_line_says_what_to_do(source: ModelFile, tmp_path: Path) -> None:
    (tmp_path / "model.bz2").unlink()
    with pytest.raises(UserError) as raised:
        find_file(source)
    text = str(raised.value)
    assert text.startswith("dlib's model of 68 face landmarks is not there (download failed")
    assert f"put it at {source.path} or set DFBENCH_LANDMARK_MODEL" in text
    assert "\n" not in text


def test_a_named_file_comes_first(
    source: ModelFile, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mine.dat"
    monkeypatch.setenv(source.variable, str(mine))
    with pytest.raises(UserError, match=r"mine\.dat: no such file \(dlib's model"):
        find_file(source)
    mine.write_bytes(b"mine")
    assert find_file(source)[0] == mine


def test_each_file_has_its_own_variable_and_place() -> None:
    assert LANDMARKS.variable != EMBEDDING.variable
    assert LANDMARKS.path != EMBEDDING.path
    assert all(len(file.content.digest) == 64 for file in (LANDMARKS, EMBEDDING))
