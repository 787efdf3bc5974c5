"""`dfbench launch` in an empty folder, and commands that note how they are called."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.launch import Fakes, Launch, Refused

from dfbench import cli


@pytest.fixture
def launch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Launch:
    """Call `dfbench launch TARGET ..`, and return the folder of the job."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str | Path) -> Path:
        assert cli.main(["launch", *map(str, arguments), "--out", "job"]) == 0
        return tmp_path / "job"

    return call


@pytest.fixture
def fakes(tmp_path: Path) -> Fakes:
    """A folder of commands."""
    return Fakes(tmp_path / "fakes")


@pytest.fixture
def refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Refused:
    """`dfbench launch` that refuses: in a line, and nothing is written."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments: str) -> str:
        assert cli.main(["launch", *arguments]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert not list(tmp_path.iterdir())
        return said

    return call
