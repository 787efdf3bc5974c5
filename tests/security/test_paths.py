"""Nothing that a card, a list or an object storage names leads out of its folder."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import fsspec
import pytest
from support.cards import make_card

from dfbench import cli
from dfbench.errors import UserError
from dfbench.faces.annotations import read_annotations
from dfbench.results.card import card_name, eval_folder
from dfbench.results.store import SCORES, card_paths, hash_file, read_card, write_card
from dfbench.storage.listing import is_safe
from dfbench.storage.mirror import Mirror
from dfbench.storage.stage import Stage
from dfbench.storage.url import Url
from dfbench.workflow.collect import collect

AWAY = (
    *("../../evil", "/evil", "..", "a/../../../evil", "..\\..\\evil", "C:\\evil", "C:evil"),
    *("\\\\host\\evil", "a\0b", "evil\n", "~/evil", "a:stream"),
)


@pytest.mark.parametrize("name", AWAY)
@pytest.mark.parametrize("field", ["model", "train", "eval", "degrade", "training_hash"])
def test_a_card_is_collected_into_its_folder(tmp_path: Path, field: str, name: str) -> None:
    handed = tmp_path / "a" / "b" / "handed"
    handed.mkdir(parents=True)
    card = make_card(0.7)
    if field == "training_hash":
        card = dataclasses.replace(card, training_hash=name)
    else:
        card = dataclasses.replace(card, cell=dataclasses.replace(card.cell, **{field: name}))
    (handed / SCORES).write_bytes(b"scores")
    files = {"scores": hash_file(handed / SCORES)}
    write_card(dataclasses.replace(card, files=files), handed / "a.card.json")
    before = set(tmp_path.rglob("*"))
    results = tmp_path / "a" / "b" / "results"
    assert collect([handed], results).copied == 1
    written = set(tmp_path.rglob("*")) - before
    assert all(path.is_relative_to(results) for path in written)
    for part in (card_name(card.cell), eval_folder(card.cell)):
        assert is_safe(part)
        assert "/" not in part


@pytest.mark.parametrize("name", [*AWAY[:8], "", ".", "a//b", "a/./b", "x" * 2000, "a\u202eb"])
def test_a_name_that_leads_away_is_not_safe(name: str) -> None:
    assert not is_safe(name)


def test_objects_that_lead_away_are_left_out(tmp_path: Path) -> None:
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    said: list[str] = []
    mirror = Mirror(Url("memory://bucket/runs"), Stage(tmp_path / "here"))
    mirror.remote._say = said.append
    for name in ("good/a.card.json", "../../evil/a.card.json", "x/../y/a.card.json"):
        fs.store[f"/bucket/runs/{name}"] = fs.store.get(name) or _file(fs, name)
    assert list(mirror.remote.sizes()) == ["good/a.card.json"]
    assert len(said) == 1
    assert "is no name of a file; left out" in said[0]
    fs.store.clear()


def _file(fs: object, name: str) -> object:
    from fsspec.implementations.memory import MemoryFile

    return MemoryFile(fs, name, b"{}")


@pytest.mark.parametrize("what", ["pipe", "endless", "folder"])
def test_what_is_called_a_card_and_is_no_file_is_refused(tmp_path: Path, what: str) -> None:
    path = tmp_path / "a.card.json"
    if what == "pipe":
        os.mkfifo(path)
    elif what == "endless":
        path.symlink_to("/dev/zero")
    else:
        path.mkdir()
    with pytest.raises(UserError, match=r"a\.card\.json: not a file"):
        read_card(path)
    assert card_paths(tmp_path) == [path]


@pytest.mark.parametrize("command", ["leaderboard", "report"])
def test_pages_are_not_written_through_a_strangers_link(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "README.md").write_text("mine")
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    write_card(make_card(0.7), theirs / "a.card.json")
    (theirs / command).symlink_to(mine, target_is_directory=True)
    assert cli.main([command, str(theirs)]) == 2
    assert (mine / "README.md").read_text() == "mine"
    assert [path.name for path in mine.iterdir()] == ["README.md"]
    capsys.readouterr()


VOC = """<annotation><filename>{name}</filename><object><bndbox><xmin>1</xmin><ymin>1</ymin>
<xmax>5</xmax><ymax>5</ymax></bndbox></object></annotation>"""
BOMB = """<!DOCTYPE a [<!ENTITY b "bbbbbbbbbb"><!ENTITY c "&b;&b;&b;&b;">]>"""


def test_annotations_name_images_of_their_folder_and_define_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "Annotations"
    folder.mkdir()
    (tmp_path / "away.png").write_bytes(b"")
    for text, message in (
        (VOC.format(name="../away.png"), "no name of an image in a folder"),
        (VOC.format(name=str(tmp_path / "away.png")), "no name of an image in a folder"),
        (BOMB + VOC.format(name="&c;"), "not XML: a document type definition"),
        ("<?xml version='1.0' encoding='utf-7'?><a/>", "not XML"),
    ):
        (folder / "a.xml").write_text(text)
        with pytest.raises(UserError, match=message):
            read_annotations(folder)
