"""A card's settings and cell against the protocol that it names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

from dfbench.config import to_dict
from dfbench.protocols import Protocol, read_protocol, shipped
from dfbench.results.card import ResultCard
from dfbench.results.compare import Difference, differences

CHANGED = " (changed)"  # what the label of a protocol with changed settings ends with


def protocol_differences(card: ResultCard) -> tuple[list[Difference], list[str]]:
    """Compare with the shipped protocol of that name and version; return differences and notes."""
    label = card.protocol
    if label is None or label.endswith(CHANGED):
        return [], []
    found = [p for p in map(read_protocol, shipped().values()) if p.label == label]
    if not found:
        return [], [f"protocol {label} is none of the shipped ones"]
    return list(_differences(card, found[0])), []


def _differences(card: ResultCard, protocol: Protocol) -> Iterator[Difference]:
    cell, by = card.cell, f"protocol {protocol.label} has"
    cells = protocol.cells
    if cell.eval not in (*cells.eval, cell.train):
        yield Difference(field="cell.eval", card=cell.eval, found=list(cells.eval), by=by)
    if cell.train and cell.train not in cells.train:
        yield Difference(field="cell.train", card=cell.train, found=list(cells.train), by=by)
    if cell.degrade and not any(cell.degrade in run.degrade for run in protocol.runs):
        known = list(protocol.runs[0].degrade)
        yield Difference(field="cell.degrade", card=cell.degrade, found=known, by=by)
    if card.origin == "scores":  # another detector, scored by the protocol's rules
        scoring = to_dict(protocol.runs[0])["scoring"]
        yield from differences(card.config.get("scoring"), scoring, "config.scoring", by)
        return
    runs = [
        run
        for run in protocol.runs
        if (run.model.name, run.train, run.seed) == (cell.model, cell.train, cell.seed)
    ]
    if not runs:
        said = [cell.model, cell.train, cell.seed]
        yield Difference(field="cell", card=said, found="no such training", by=by)
        return
    degrade = (cell.degrade,) if cell.degrade else ()
    config = to_dict(replace(runs[0], eval=(cell.eval,), degrade=degrade))
    yield from differences(_result(card.config), _result(config), "config", by)


def _result(config: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what changes the speed alone."""
    data = config.get("data")
    if not isinstance(data, Mapping):
        return dict(config)
    return {**config, "data": {key: v for key, v in data.items() if key != "workers"}}
