"""Which results belong together: rows and columns of the leaderboard, and the newest of copies."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from dfbench.results.card import Audit, DatasetFingerprint, ResultCard

RowKey = tuple[str, str, str]  # model, training spec, hash of what makes trainings comparable
ColumnKey = tuple[str, str]  # evaluated spec, hash of the data behind it
# Settings that a row may mix.
APART = ("seed", "train", "eval", "degrade", "model.name", "data.workers")


def newest(cards: Iterable[ResultCard]) -> list[ResultCard]:
    """Return one card a row, column and seed: the newest. The order of `cards` does not matter."""
    found: dict[tuple[Any, ...], ResultCard] = {}
    for card in sorted(cards, key=lambda c: (c.times.created, c.config_hash)):
        found[(*row_key(card), *column_key(card), card.cell.seed)] = card
    return list(found.values())


def row_key(card: ResultCard) -> RowKey:
    """Return model, training spec and a hash of all that makes trainings comparable."""
    made_from: list[Any] = [settings(card), [_identity(d) for d in card.datasets.train]]
    if card.origin != "run":
        made_from.append(card.origin)
    return card.cell.model, card.cell.train, _digest(made_from)


def column_key(card: ResultCard) -> ColumnKey:
    """Return what was scored and a hash of the clips behind it.

    How they were cropped is the detector's affair, and a part of its row; how crops were degraded
    is not.
    """
    clips = [[d.name, d.version, d.variant, d.clips_sha256] for d in card.datasets.eval]
    degraded = [card.cell.degrade] if card.cell.degrade else []
    return card.cell.scored, _digest([*clips, *degraded])


def training_data_key(card: ResultCard) -> str:
    """Return a hash of the data behind the training spec."""
    return _digest([card.origin, [_identity(d) for d in card.datasets.train]])


def overlaps(audit: Audit | None) -> bool:
    """Return whether training and evaluated data share anything, as far as is known."""
    return audit is not None and any(v for k, v in asdict(audit).items() if k != "note")


def settings(card: ResultCard) -> dict[str, Any]:
    """Return the dotted settings that may not differ within a row."""
    flat: dict[str, Any] = {}

    def flatten(values: Mapping[str, Any], prefix: str) -> None:
        for key, value in values.items():
            if isinstance(value, Mapping):
                flatten(value, f"{prefix}{key}.")
            else:
                flat[prefix + key] = value

    flatten(card.config, "")
    kept = {k: v for k, v in flat.items() if k not in APART and not k.startswith("scoring.")}
    # Of scoring only what changes a video's score; earlier versions had only the default.
    aggregate = flat.get("scoring.aggregate", "mean")
    if aggregate != "mean":
        kept["scoring.aggregate"] = aggregate
    if aggregate == "top_k":
        kept["scoring.top_k"] = flat.get("scoring.top_k")
    return kept


def _identity(data: DatasetFingerprint) -> list[Any]:
    return [data.name, data.version, data.variant, data.recipe, data.clips_sha256]


def _digest(values: Any) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()
