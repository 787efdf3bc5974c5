"""What is shared names no user, no home folder and no machine."""

from __future__ import annotations

import getpass
import re
import socket
from pathlib import Path

import pytest

from dfbench.config import RunConfig, config_hash, from_dict
from dfbench.data.spec import parse_spec
from dfbench.download import Checksum, DownloadError, download
from dfbench.models.weights.catalog import weights_path
from dfbench.paths import expanded, from_home
from dfbench.protocols import parse_protocol
from dfbench.results.environment import environment

REPO = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home" / "alice"
    folder.mkdir(parents=True)
    monkeypatch.setenv("HOME", str(folder))
    return folder


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("folder:{home}/faces", "folder:~/faces"),
        ("folder:{home}", "folder:~"),
        ("{home}/w.h5", "~/w.h5"),
        ("sbi:{home}/a,folder:{home}/b,uadfv", "sbi:~/a,folder:~/b,uadfv"),
        ("folder:{home}2/faces", "folder:{home}2/faces"),
        ("folder:{home}.old", "folder:{home}.old"),
        ("folder:/mnt{home}/faces", "folder:/mnt{home}/faces"),
        ("folder:../faces", "folder:../faces"),
        ("celebdf", "celebdf"),
    ],
)
def test_the_home_folder_is_a_tilde(home: Path, text: str, found: str) -> None:
    assert from_home(text.format(home=home)) == found.format(home=home)


@pytest.mark.parametrize("nobody", ["/", ""])
def test_who_has_no_home_folder_is_not_left_out(
    monkeypatch: pytest.MonkeyPatch, nobody: str
) -> None:
    monkeypatch.setenv("HOME", nobody)
    assert from_home("folder:/data/faces") == "folder:/data/faces"
    assert expanded("~nobody-of-this-name/x") == Path("~nobody-of-this-name/x")


def test_settings_name_no_home_folder_and_mean_the_same(home: Path) -> None:
    (home / "w.h5").write_bytes(b"weights")
    config = from_dict(
        {
            "train": f"folder:{home}/mine",
            "eval": [f"folder:{home}/theirs", "celebdf"],
            "model": {"init": f"{home}/w.h5"},
        },
        "--set",
    )
    assert (config.train, config.eval) == ("folder:~/mine", ("folder:~/theirs", "celebdf"))
    assert config.model.init == "~/w.h5"
    (spec,) = parse_spec(config.train)
    assert spec.path == home / "mine"
    assert weights_path("meso4", "~/w.h5") == home / "w.h5"
    written = {"train": "folder:~/mine", "eval": list(config.eval), "model": {"init": "~/w.h5"}}
    assert config_hash(from_dict(written, "--set")) == config_hash(config)


def test_protocols_name_no_home_folder(home: Path) -> None:
    cells = {"train": [f"folder:{home}/mine"], "eval": [f"folder:{home}/b"], "model": ["meso4"]}
    found = parse_protocol({"name": "mine", "version": "1", "cells": cells}, "mine.toml")
    assert found.cells.train == ("folder:~/mine",)
    assert found.runs[0].train == "folder:~/mine"
    assert found.runs[0].eval == found.cells.eval == ("folder:~/b",)


def test_settings_without_a_path_are_as_they_were(home: Path) -> None:
    assert from_dict({"train": "uadfv"}, "--set") == RunConfig(train="uadfv")


def test_what_cards_say_of_a_machine_names_it_not() -> None:
    text = repr(environment())
    assert socket.gethostname() not in text
    assert str(Path.home()) not in text
    assert str(REPO) not in text


def test_a_failed_download_names_no_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A card says why another face detector was used."""
    monkeypatch.setattr("dfbench.download.SCHEMES", ("file",))
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError) as raised:
        download((tmp_path / "gone").as_uri(), tmp_path / "file" / "x", Checksum("md5", "0"))
    assert str(tmp_path) not in str(raised.value)


CARDS = sorted(REPO.glob("leaderboard/**/*.card.json")) + sorted(
    REPO.glob("tests/results/**/*.card.json")
)
PLACES = re.compile(
    r"(?<![\w.:/-])/(home|root|Users|tmp|work|mnt|data|scratch)/|[A-Z]:\\\\|@\w+\.\w"
)


@pytest.mark.parametrize("path", CARDS, ids=lambda path: path.name)
def test_committed_cards_name_nobody(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not PLACES.search(text)
    assert socket.gethostname() not in text
    if len(getpass.getuser()) > 4:
        assert getpass.getuser() not in text
