"""What protocols there are: `protocols`."""

from __future__ import annotations

import argparse
import json
from typing import Any

from dfbench.config import to_dict
from dfbench.errors import one_line
from dfbench.protocols import Protocol, find_protocol, read_protocol, shipped


def protocols(args: argparse.Namespace) -> None:
    """List the protocols that come with dfbench, or describe one: its cells and all settings.

    `dfbench run --protocol NAME` and `dfbench matrix --protocol NAME` make its cells.
    """
    if args.name:
        path = find_protocol(args.name)
        protocol = read_protocol(path)
        if args.json:
            print(json.dumps(_values(protocol), indent=1))
        else:
            print(path.read_text(encoding="utf-8").strip())
            print(f"\n# {path}: {_size(protocol)}")
        return
    found = [read_protocol(path) for path in shipped().values()]
    if args.json:
        print(json.dumps([_values(one, runs=False) for one in found], indent=1))
        return
    width = max(len(one.label) for one in found)
    for one in found:
        print(f"{one.label:{width}}  {one_line(one.description)}\n{'':{width}}  {_size(one)}")


def _size(protocol: Protocol) -> str:
    cells = protocol.cells
    sizes = (
        (len(cells.model), "model"),
        (len(cells.train), "training dataset"),
        (len(cells.seed), "seed"),
        (len(protocol.runs), "training"),
        (_count(protocol), "cell"),
    )
    return ", ".join(f"{n} {word}{'s' if n != 1 else ''}" for n, word in sizes)


def _count(protocol: Protocol) -> int:
    return sum(len({run.train, *run.eval}) * (1 + len(run.degrade)) for run in protocol.runs)


def _values(protocol: Protocol, *, runs: bool = True) -> dict[str, Any]:
    values: dict[str, Any] = {
        "name": protocol.name,
        "version": protocol.version,
        "description": protocol.description,
        "train": protocol.cells.train,
        "eval": protocol.cells.eval,
        "model": protocol.cells.model,
        "seed": protocol.cells.seed,
        "degrade": protocol.cells.degrade,
        "trainings": len(protocol.runs),
        "cells": _count(protocol),
    }
    return values | ({"runs": [to_dict(run) for run in protocol.runs]} if runs else {})
