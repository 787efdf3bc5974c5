from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import msgspec
import pytest
from support.cards import make_card

from dfbench.errors import UserError
from dfbench.results.card import SCHEMA_VERSION
from dfbench.results.store import load_cards, read_card, read_stored, write_card
from dfbench.results.versions import schema_path, schema_text

# Written by `dfbench run --train synth_swap --eval synth_blend --set data.size=tiny --set
# training.epochs=1` at commit b2d6463, the last of version 1.
V1 = Path(__file__).parent / "v1"
CARD_V1 = V1 / "meso4--synth_swap--synth_blend--s0.card.json"
NEW_IN_2 = {"breakdown", "confusion", "calibration", "oracle", "origin"}


def schema(version: int) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(schema_path(version).read_text(encoding="utf-8"))
    return found


def misfits(value: Any, part: dict[str, Any], whole: dict[str, Any], at: str = "$") -> list[str]:
    """Return where a value breaks those rules of JSON Schema that the cards' schemas use."""
    if "$ref" in part:
        return misfits(value, whole["$defs"][part["$ref"].rpartition("/")[2]], whole, at)
    if "anyOf" in part:
        tried = [misfits(value, one, whole, at) for one in part["anyOf"]]
        return [] if any(not found for found in tried) else tried[0]
    if "const" in part or "enum" in part:
        return [] if value in part.get("enum", [part.get("const")]) else [at]
    types = {"object": dict, "array": list, "string": str, "integer": int, "number": (int, float)}
    kind: Any = {**types, "boolean": bool, "null": type(None)}[part["type"]]
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        return [at]
    if isinstance(value, list):
        items = part.get("items", {"type": "object"})
        return [f for i, one in enumerate(value) for f in misfits(one, items, whole, f"{at}[{i}]")]
    if not isinstance(value, dict) or part.keys() == {"type"}:
        return []
    found = [f"{at}.{name}" for name in part.get("required", ()) if name not in value]
    for name, one in value.items():
        inner = part.get("properties", {}).get(name, part.get("additionalProperties", {}))
        found += [f"{at}.{name}"] if inner is False else misfits(one, inner, whole, f"{at}.{name}")
    return found


def test_the_schema_in_the_repository_is_that_of_the_types() -> None:
    path = schema_path(SCHEMA_VERSION)
    assert path.read_text(encoding="utf-8") == schema_text(), (
        f"the card has changed: `python -m dfbench.results.versions > {path.name}` in its folder; "
        "where published cards have to stay readable, that is a new version"
    )


def test_every_version_has_its_schema() -> None:
    for version in range(1, SCHEMA_VERSION + 1):
        card = schema(version)["$defs"]["ResultCard"]
        assert card["properties"]["schema_version"] == {"const": version}
        assert "schema_version" in card["required"]
        assert all(d["additionalProperties"] is False for d in schema(version)["$defs"].values())
    new = schema(2)["$defs"]["ResultCard"]["properties"].keys()
    assert new - schema(1)["$defs"]["ResultCard"]["properties"].keys() == NEW_IN_2


def test_cards_fit_their_schema_and_no_other(tmp_path: Path) -> None:
    write_card(make_card(0.8, training=None, audit=None), tmp_path / "a.card.json")
    now = json.loads((tmp_path / "a.card.json").read_text())
    then = json.loads(CARD_V1.read_text())
    assert misfits(now, schema(2), schema(2)) == []
    assert misfits(then, schema(1), schema(1)) == []
    assert misfits(then, schema(2), schema(2)) == ["$.schema_version"]
    assert {f"$.{name}" for name in NEW_IN_2} < set(misfits(now, schema(1), schema(1)))
    del now["metrics"]["video_auc"]["value"]
    now["cell"]["fold"] = 1
    now["metrics"]["video_auc"]["n"] = "20"
    wrong = misfits(now, schema(2), schema(2))
    assert wrong == ["$.cell.fold", "$.metrics.video_auc.value", "$.metrics.video_auc.n"]


def test_a_card_of_version_1_is_read_as_it_was(tmp_path: Path) -> None:
    stored = read_stored(CARD_V1)
    card = stored.card
    assert (stored.schema_version, card.schema_version) == (1, SCHEMA_VERSION)
    assert (card.cell.model, card.cell.eval, card.role) == ("meso4", "synth_blend", "across")
    assert card.metrics["video_auc"].value == 0.51
    assert card.metrics["video_auc"].high == 0.7602499999999998
    assert (card.origin, card.breakdown, card.confusion) == ("run", {}, {})
    assert (card.calibration, card.oracle) == (None, None)
    then = json.loads(CARD_V1.read_text())
    kept = {name: value for name, value in msgspec.to_builtins(card).items() if name in then}
    assert json.loads(msgspec.json.encode(kept)) == then | {"schema_version": SCHEMA_VERSION}
    assert [s.card for s in load_cards([V1])] == [card]
    write_card(card, tmp_path / "now.card.json")  # as one of the current version
    assert read_stored(tmp_path / "now.card.json").schema_version == SCHEMA_VERSION
    assert read_card(tmp_path / "now.card.json") == card


@pytest.mark.parametrize("name", sorted(NEW_IN_2))
def test_version_1_has_no_field_of_a_later_one(tmp_path: Path, name: str) -> None:
    then = json.loads(CARD_V1.read_text()) | {name: None}
    path = tmp_path / "a.card.json"
    path.write_text(json.dumps(then))
    with pytest.raises(UserError, match=rf"a\.card\.json: .*field `\$\.{name}` is unknown"):
        read_card(path)


@pytest.mark.parametrize("content", [b"[" * 100_000, b'{"a":' * 100_000, b"[]", b"null"])
def test_hostile_json_is_the_users_error(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.card.json"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"a\.card\.json: not a"):
        read_card(path)


def test_a_file_too_large_to_be_a_card_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.card.json"
    with path.open("wb") as file:
        file.truncate(2**40)  # a hole: takes no space
    with pytest.raises(UserError, match="1099511627776 bytes are no result card"):
        read_card(path)


def test_scores_of_val_are_checked_too(tmp_path: Path) -> None:
    shutil.copytree(V1, tmp_path / "v1")
    (tmp_path / "v1" / "val_scores.parquet").write_bytes(b"not spoken of")
    assert len(load_cards([tmp_path])) == 1
    stored = read_stored(tmp_path / "v1" / CARD_V1.name)
    files = stored.card.files | {"val_scores": stored.card.files["scores"]}
    write_card(dataclasses.replace(stored.card, files=files), stored.path)
    with pytest.raises(UserError, match=r"val_scores\.parquet beside it is not"):
        load_cards([tmp_path])
