from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from support.cards import make_card

from dfbench.errors import UserError
from dfbench.results.card import Metric, card_name
from dfbench.results.store import hash_file, hash_folder, load_cards, read_card, write_card


def damaged(path: Path, change: Any) -> Path:
    write_card(make_card(0.8), path)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))
    return path


@pytest.mark.parametrize("auc", [0.75, None])
def test_a_card_reads_back_as_written(tmp_path: Path, auc: float | None) -> None:
    card = make_card(auc, protocol="demo-1")
    path = tmp_path / "deep" / card_name(card.cell)
    write_card(card, path)
    assert read_card(path) == card
    assert [p.name for p in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_number_json_does_not_know_is_not_written(tmp_path: Path, value: float) -> None:
    card = dataclasses.replace(make_card(0.8), metrics={"video_auc": Metric(value=value)})
    with pytest.raises(ValueError, match="NaN"):
        write_card(card, tmp_path / "x.card.json")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("metrics"), "missing required field `metrics`"),
        (lambda c: c.pop("schema_version"), "no 'schema_version'"),
        (lambda c: c.update(schema_version=99), "schema_version 99 is unknown"),
        (lambda c: c.update(schema_version=True), "schema_version True is unknown"),
        (lambda c: c.update(role="sideways"), r"\$\.role"),
        (lambda c: c["cell"].update(seed="0"), r"\$\.cell\.seed"),
        (lambda c: c["metrics"]["video_auc"].update(value="high"), r"value"),
        (lambda c: c["coverage"].update(maybe=c["coverage"]["real"]), r"coverage"),
        (lambda c: c.update(comment="fine"), r"field `\$\.comment` is unknown"),
        (lambda c: c["cell"].update(fold=1), r"field `\$\.cell\.fold` is unknown"),
        (
            lambda c: c["datasets"]["eval"][0].update(x=1),
            r"`\$\.datasets\.eval\[0\]\.x` is unknown",
        ),
    ],
)
def test_a_wrong_card_names_file_and_field(tmp_path: Path, change: Any, message: str) -> None:
    path = damaged(tmp_path / "a.card.json", change)
    with pytest.raises(UserError, match=message) as caught:
        read_card(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[1]", b'"text"'])
def test_what_is_no_card_is_the_users_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.card.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.card\.json"):
        read_card(path)


def test_configuration_and_recipe_hold_any_field(tmp_path: Path) -> None:
    path = damaged(tmp_path / "a.card.json", lambda c: c["config"].update(later={"x": [1, {}]}))
    assert read_card(path).config["later"] == {"x": [1, {}]}


def test_a_field_with_a_default_may_be_missing(tmp_path: Path) -> None:
    path = damaged(tmp_path / "a.card.json", lambda c: c.pop("protocol"))
    assert read_card(path) == make_card(0.8)


def test_a_half_written_card_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.card.json"
    write_card(make_card(0.8), path)
    whole = path.read_bytes()
    for part in range(0, len(whole) - 2, 97):
        path.write_bytes(whole[:part])
        with pytest.raises(UserError, match=r"a\.card\.json: not a JSON file"):
            load_cards([tmp_path])


def test_scores_beside_a_card_must_be_its_own(tmp_path: Path) -> None:
    scores, path = tmp_path / "scores.parquet", tmp_path / "a.card.json"
    scores.write_bytes(b"scores of this card")
    write_card(make_card(0.8, files={"scores": hash_file(scores)}), path)
    assert len(load_cards([tmp_path])) == 1
    scores.write_bytes(b"scores of other card")
    with pytest.raises(UserError, match=r"a\.card\.json: scores\.parquet .* --overwrite"):
        load_cards([tmp_path])
    scores.unlink()  # a card alone, sent by somebody
    assert len(load_cards([tmp_path])) == 1


def test_cards_are_found_below_folders_and_the_newest_counts(tmp_path: Path) -> None:
    old = make_card(0.6, created="2026-01-01T00:00:00Z")
    new = make_card(0.7, created="2026-02-01T00:00:00Z")
    other = make_card(0.9, seed=1)
    for number, card in enumerate((new, old, other)):
        write_card(card, tmp_path / str(number) / "evals" / card_name(card.cell))
    (tmp_path / "0" / ".half.card.json").write_text("{")  # left by a kill
    assert [stored.card for stored in load_cards([tmp_path])] == [new, other]


def test_a_folder_without_cards(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no result card.*`dfbench eval`"):
        load_cards([tmp_path])
    with pytest.raises(UserError, match="no such folder"):
        load_cards([tmp_path / "nowhere"])


def test_the_order_of_cards_is_that_of_cells(tmp_path: Path) -> None:
    cards = [make_card(0.8, model=m, seed=s) for m in ("xception", "meso4") for s in (10, 9)]
    for number, card in enumerate(cards):
        write_card(card, tmp_path / str(number) / card_name(card.cell))
    twice = load_cards([tmp_path, tmp_path])
    assert [(s.card.cell.model, s.card.cell.seed) for s in twice] == [
        ("meso4", 9),
        ("meso4", 10),
        ("xception", 9),
        ("xception", 10),
    ]


def test_hashes_depend_on_content_and_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    assert hash_file(tmp_path / "a").sha256.startswith("ba7816bf8f01cfea")  # FIPS 180-2
    before = hash_folder(tmp_path)
    assert before.bytes == 3
    (tmp_path / "a").rename(tmp_path / "b")
    renamed = hash_folder(tmp_path)
    (tmp_path / "b").write_bytes(b"abd")
    assert len({before.sha256, renamed.sha256, hash_folder(tmp_path).sha256}) == 3
