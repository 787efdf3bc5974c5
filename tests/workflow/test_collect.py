from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from support.cards import make_card

from dfbench.errors import UserError
from dfbench.results.card import FileHash, OracleGap, ResultCard
from dfbench.results.store import (
    SCORES,
    hash_file,
    load_cards,
    read_card,
    read_cards,
    write_card,
)
from dfbench.workflow.collect import Collected, collect


def run_of(folder: Path, card: ResultCard, scores: bytes = b"scores") -> Path:
    """Write a card and a score file as a run does."""
    place = folder / "evals" / card.cell.eval
    place.mkdir(parents=True)
    (place / SCORES).write_bytes(scores)
    files = {"scores": hash_file(place / SCORES), "checkpoint": FileHash(sha256="0", bytes=1)}
    write_card(dataclasses.replace(card, files=files), place / "a.card.json")
    return place


def test_cards_come_with_their_scores_and_without_checkpoints(tmp_path: Path) -> None:
    (tmp_path / "runs/a/checkpoints").mkdir(parents=True)
    (tmp_path / "runs/a/checkpoints/weights").write_bytes(b"large")
    run_of(tmp_path / "runs/a", make_card(0.7))
    run_of(tmp_path / "runs/b", make_card(0.6, model="xception", eval="celebdf"))
    results = tmp_path / "results"
    assert collect([tmp_path / "runs"], results) == Collected(
        copied=2, there=0, copies=0, partial=()
    )
    names = sorted(p.name for p in results.rglob("*") if p.is_file())
    assert names == [
        "meso4--synth_swap--synth_blend--s0.card.json",
        SCORES,
        SCORES,
        "xception--synth_swap--celebdf--s0.card.json",
    ]
    again = collect([tmp_path / "runs", results], results)  # the same ones, and from itself
    assert again == Collected(copied=0, there=2, copies=2, partial=())
    assert not list(results.rglob(".*"))


def contents(folder: Path) -> dict[str, bytes]:
    files = (p for p in folder.rglob("*") if p.is_file())
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in files}


def test_another_result_of_a_cell_comes_beside_it(tmp_path: Path) -> None:
    results = tmp_path / "results"
    run_of(tmp_path / "here", make_card(0.7))
    collect([tmp_path / "here"], results)
    before = contents(results)
    for name, auc, created in (("newer", 0.8, "2027"), ("older", 0.9, "2025")):
        run_of(tmp_path / name, make_card(auc, created=f"{created}-01-01T00:00:00Z"), name.encode())
        assert collect([tmp_path / name], results).copied == 1
        assert collect([tmp_path / name], results).copied == 0
    after = contents(results)
    assert {name: after[name] for name in before} == before
    cards = sorted(results.rglob("*.card.json"))
    assert {read_card(path).metrics["video_auc"].value for path in cards} == {0.7, 0.8, 0.9}
    assert all(hash_file(p.with_name(SCORES)) == read_card(p).files["scores"] for p in cards)
    (shown,) = load_cards([results])
    assert shown.card.metrics["video_auc"].value == 0.8  # the newest, not the highest
    # All machines at once, in whatever order, come to the same set.
    other = tmp_path / "other"
    collect([tmp_path / name for name in ("older", "here", "newer")], other)
    assert sorted(contents(other).values()) == sorted(after.values())


def test_clips_and_protocols_that_differ_do_not_take_a_place(tmp_path: Path) -> None:
    cards = [
        make_card(0.7),
        make_card(0.7, clips="another list"),
        make_card(0.7, protocol="demo-1"),
        make_card(0.7, protocol="demo-2"),
    ]
    for number, card in enumerate(cards):
        run_of(tmp_path / str(number), card)
        assert collect([tmp_path / str(number)], tmp_path / "results").copied == 1
    assert len(list((tmp_path / "results").rglob("*.card.json"))) == 4
    assert len(load_cards([tmp_path / "results"])) == 4


def test_a_card_that_says_more_of_the_same_scores_replaces_one(tmp_path: Path) -> None:
    results = tmp_path / "results"
    run_of(tmp_path / "bare", make_card(0.7))
    gap = OracleGap(epoch=1, video_auc=0.7, gain=0.0, epochs=2)
    run_of(tmp_path / "full", make_card(0.7, oracle=gap))
    for name, copied in (("bare", 1), ("full", 1), ("bare", 0)):
        assert collect([tmp_path / name], results).copied == copied
    (path,) = results.rglob("*.card.json")
    assert read_card(path).oracle == gap
    # The scores of a card that lost them come back.
    path.with_name(SCORES).unlink()
    assert collect([tmp_path / "full"], results).copied == 1
    assert path.with_name(SCORES).read_bytes() == b"scores"
    assert len(list(results.rglob("*"))) == 4


def test_machines_that_collect_at_the_same_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes the place after this one has looked."""
    results, rename = tmp_path / "results", Path.rename
    run_of(tmp_path / "a", make_card(0.7))
    run_of(tmp_path / "b", make_card(0.8), b"other")

    def late(self: Path, target: Path) -> Path:
        monkeypatch.setattr(Path, "rename", rename)
        collect([tmp_path / "b"], results)
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", late)
    assert collect([tmp_path / "a"], results).copied == 1
    values = {read_card(p).metrics["video_auc"].value for p in results.rglob("*.card.json")}
    assert values == {0.7, 0.8}
    assert not list(results.rglob(".*"))


def test_what_a_killed_call_left_is_no_card(tmp_path: Path) -> None:
    results = tmp_path / "results"
    run_of(tmp_path / "a", make_card(0.7))
    collect([tmp_path / "a"], results)
    (folder,) = results.glob("*/*")
    shutil.copytree(folder, folder.with_name(f".{folder.name}.elsewhere-1"))
    assert len(read_cards([results])) == 1


def test_cards_without_their_scores_are_left_out_and_named(tmp_path: Path) -> None:
    results = tmp_path / "results"
    place = run_of(tmp_path / "a", make_card(0.7))
    run_of(tmp_path / "b", make_card(0.8, seed=1))
    (place / SCORES).unlink()
    done = collect([tmp_path / "a", tmp_path / "b"], results)
    assert (done.copied, [one.path.parent for one in done.partial]) == (1, [place])
    assert [s.card.cell.seed for s in load_cards([results])] == [1]
    # Where the folder has the whole of it, nothing is missing.
    run_of(tmp_path / "c", make_card(0.7))
    collect([tmp_path / "c"], results)
    assert collect([tmp_path / "a", tmp_path / "b"], results).partial == ()


def test_nothing_but_cards_without_scores_is_refused(tmp_path: Path) -> None:
    place = run_of(tmp_path / "runs", make_card(0.7))
    (place / SCORES).unlink()
    with pytest.raises(UserError, match=r"scores\.parquet is not beside it"):
        collect([tmp_path / "runs"], tmp_path / "results")
    assert not list((tmp_path / "results").rglob("*.json"))
    shutil.rmtree(tmp_path / "runs")
    with pytest.raises(UserError, match="no such folder"):
        collect([tmp_path / "runs"], tmp_path / "results")
