"""Versions of the result card: a JSON Schema of each, and how a card of an earlier one is read.

The schemas lie in `schema/`; that of the current version is written by

    python -m dfbench.results.versions > dfbench/results/schema/card-v2.json

and those of earlier ones stay as they are. A new version needs a function in `_UPGRADES`.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec

from dfbench.results.card import SCHEMA_VERSION, ResultCard

SCHEMAS = Path(__file__).with_name("schema")

Raw = dict[str, Any]  # a card as JSON has it


def upgrade(raw: Raw) -> Raw:
    """Return a card of an earlier version as one of the current version.

    Raises:
      ValueError: no such version, or a field that its version does not have; the message has no
        file name.
    """
    version = raw.get("schema_version")
    if version is None:
        raise ValueError("not a result card: it has no 'schema_version'")
    if type(version) is not int or not 1 <= version <= SCHEMA_VERSION:
        raise ValueError(
            f"schema_version {version!r} is unknown; this version of dfbench reads 1 to "
            f"{SCHEMA_VERSION}"
        )
    for step in range(version, SCHEMA_VERSION):
        raw = {**_UPGRADES[step](raw), "schema_version": step + 1}
    return raw


def _from_1(raw: Raw) -> Raw:
    """Version 2 added breakdown, confusion, calibration, oracle, and detectors from elsewhere."""
    return _with_new(
        raw,
        {"breakdown": {}, "confusion": {}, "calibration": None, "oracle": None, "origin": "run"},
    )


_UPGRADES: Mapping[int, Callable[[Raw], Raw]] = {1: _from_1}


def _with_new(raw: Raw, new: Raw) -> Raw:
    for name in new:
        if name in raw:
            version = raw["schema_version"]
            raise ValueError(f"not a valid result card: field `$.{name}` is unknown in {version=}")
    return raw | new


def schema_path(version: int) -> Path:
    """Return the file of a version's JSON Schema."""
    return SCHEMAS / f"card-v{version}.json"


def schema_text(card: type = ResultCard, version: int = SCHEMA_VERSION) -> str:
    """Return the JSON Schema (2020-12) of a card's type, as the file has it."""
    schema = msgspec.json.schema(card)
    for one in schema["$defs"].values():
        one["description"] = inspect.cleandoc(one["description"])
        one["additionalProperties"] = False  # as `read_card` has it
    top = schema["$defs"][card.__name__]
    top["properties"]["schema_version"] = {"const": version}
    top["required"].append("schema_version")
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"dfbench result card, version {version}",
    }
    return json.dumps(head | schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
