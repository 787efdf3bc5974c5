"""A comparison of sides: rows, tables, targets; what `train_step.py` and `inference.py` share."""

from __future__ import annotations

import argparse
import importlib.util
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import networks
import roofline
import sides
import turns
from page import page, table, write

BATCHES = [32, 64, 128, 256, 512]  # images, on an accelerator
CPU_BATCH = {"meso4": 32}  # images; others: 8


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What a script compares.

    Attributes:
        script: Its file.
        title: Of the page.
        kind: In the page's name.
        modes: What each is called; those that need less memory first.
        target: How many times as fast as `torch.compile` a model is to be in a mode.
        note: What is compared, in a line.
        ours: Makes dfbench's side ...
        theirs: ... and PyTorch's.
    """

    script: str
    title: str
    kind: str
    modes: Mapping[str, str]
    target: Callable[[str, str], float]
    note: str
    ours: Callable[[sides.Setup], turns.Side]
    theirs: Callable[[sides.Setup], turns.Side]


@dataclass(frozen=True)
class Measured:
    """A model in a mode, by side."""

    name: str
    mode: str
    images: int
    found: dict[str, turns.Series]

    def rate(self, side: str) -> str:
        """Return images a second."""
        series = self.found.get(side)
        return "-" if series is None or series.median is None else f"{series.median:,.1f}"

    def ratio(self, side: str) -> str:
        """Return how many times as fast as `side` dfbench is."""
        ours, theirs = self.found.get(sides.DFBENCH), self.found.get(side)
        return turns.ratio_text(turns.ratios(ours, theirs))

    def met(self, target: float) -> bool | None:
        """Return whether `target` is met; None where there is nothing to compare with."""
        ours, theirs = (self.found.get(side) for side in (sides.DFBENCH, sides.COMPILED))
        if ours is None or theirs is None or theirs.median is None:
            return None
        return ours.median is not None and ours.median / theirs.median >= target


@dataclass
class Results:
    """What was measured, and what was not, with the reason."""

    measured: list[Measured] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    full: set[tuple[str, str, str]] = field(default_factory=set)  # out of memory: model, side, mode


def measure_all(
    what: Comparison,
    options: argparse.Namespace,
    device: sides.Device,
    clock: turns.Clock,
    results: Results,
) -> None:
    """Time every model at every batch size, all models at the first size before the next."""
    sizes = {name: _batches(name, options, device) for name in options.models}
    for place in range(max(map(len, sizes.values()))):
        for name in options.models:
            if place >= len(sizes[name]):
                continue
            if clock.over():
                results.notes.append(f"{name}, {sizes[name][place]} images: the time was up")
                continue
            found = _measure_one(what, name, sizes[name][place], options, device, clock, results)
            for mode in reversed(list(what.modes)):
                if found.get(mode):
                    row = Measured(name, mode, sizes[name][place], found[mode])
                    _keep(row, what, results)
                    print("  ".join(_cells(row, what, options, device)), flush=True)


def _batches(name: str, options: argparse.Namespace, device: sides.Device) -> list[int]:
    if options.batches:
        return list(options.batches)
    return BATCHES if device.alone else [CPU_BATCH.get(name, 8)]


def _measure_one(
    what: Comparison,
    name: str,
    images: int,
    options: argparse.Namespace,
    device: sides.Device,
    clock: turns.Clock,
    results: Results,
) -> turns.Found:
    """Time all sides, but for what ran out of memory at a smaller batch."""
    commands, modes = {}, {}
    for side in [side for side in options.sides if networks.has_side(name, side)]:
        modes[side] = [mode for mode in what.modes if (name, side, mode) not in results.full]
        setup = sides.Setup(
            name=name,
            side=side,
            images=images,
            dtype=options.dtype,
            crop=options.crop,
            forms=dict(options.forms),
            count=options.roofline and side == sides.DFBENCH,
        )
        if modes[side]:
            commands[side] = setup.command(what.script, device)
    return turns.measure(
        commands, modes, images, rounds=options.rounds, clock=clock, alone=device.alone
    )


def _keep(row: Measured, what: Comparison, results: Results) -> None:
    """Add a row; say what failed, and remember what ran out of memory."""
    results.measured.append(row)
    for side, series in row.found.items():
        if series.failed:
            who = f"{row.name}, {what.modes[row.mode]}, {row.images} images, {sides.SIDES[side]}"
            results.notes.append(f"{who}: {series.failed}")
        if series.failed == turns.OUT_OF_MEMORY:
            results.full.add((row.name, side, row.mode))


# --- the page -------------------------------------------------------------------------------------


def targeted(options: argparse.Namespace, device: sides.Device) -> bool:
    """Return whether the targets are of this run."""
    return device.alone and options.dtype == "bfloat16" and sides.COMPILED in options.sides


def _cells(
    row: Measured, what: Comparison, options: argparse.Namespace, device: sides.Device
) -> list[str]:
    cells = [row.name, what.modes[row.mode], str(row.images), *map(row.rate, options.sides)]
    cells += map(row.ratio, options.sides[1:])
    if targeted(options, device):
        target = what.target(row.mode, row.name)
        verdict = {None: "-", True: "met", False: "**missed**"}[row.met(target)]
        cells.append(f"{verdict} ({target:g})")
    return cells


def _memory_table(results: Results, what: Comparison, shown: list[str]) -> list[str]:
    """Return the most memory of each side; nothing where nobody counts it."""
    rows = []
    for row in results.measured:
        peaks = {side: series.peak for side, series in row.found.items() if series.peak}
        if peaks:
            cells = [f"{peaks[side] / 2**30:.2f}" if side in peaks else "-" for side in shown]
            rows.append([row.name, what.modes[row.mode], str(row.images), *cells])
    heads = ["model", "what", "batch", *(f"{sides.SIDES[side]}, peak GiB" for side in shown)]
    return table(heads, rows) if rows else []


def _roofline_table(results: Results, what: Comparison, rates: roofline.Rates) -> list[str]:
    """Return how far dfbench is from what the device could do."""
    heads = ["model", "what", "batch", "GFLOP an image", "MB an image, at least"]
    heads += ["MB an image, compiled", "bound", "img/s at most", "dfbench reaches"]
    rows = []
    for row in results.measured:
        series = row.found.get(sides.DFBENCH)
        names = ("flops", "bytes", "moved")
        if series is None or not all(name in series.facts for name in names):
            continue
        work = roofline.Work(**{name: series.facts[name] for name in names})
        seconds, bound = work.floor(rates)
        most = row.images / seconds
        rows.append(
            [
                *(row.name, what.modes[row.mode], str(row.images)),
                f"{work.flops / row.images / 1e9:.2f}",
                f"{work.bytes / row.images / 1e6:.1f}",
                f"{work.moved / row.images / 1e6:.1f}" if work.moved else "-",
                *(bound, f"{most:,.0f}"),
                "-" if series.median is None else f"{100 * series.median / most:.1f} %",
            ]
        )
    return table(heads, rows)


def report(
    what: Comparison,
    results: Results,
    options: argparse.Namespace,
    device: sides.Device,
    rates: roofline.Rates | None,
) -> str:
    """Return the page: what, on what, how, and the tables."""
    packages = ["dfbench", "jax", "jaxlib", "flax"]
    if importlib.util.find_spec("torch") and any(side not in sides.OURS for side in options.sides):
        packages.append("torch")
    how = "each alone on the device" if device.alone else "which take turns"
    notes = [what.note]
    notes.append(
        f"{options.dtype}; Adam; median of {options.rounds} rounds of the sides, {how}; a ratio is "
        "of one round: median (lowest-highest), above 1 where dfbench is faster"
    )
    notes += [f"in place of the platform's own form: {op} as {form}" for op, form in options.forms]
    heads = ["model", "what", "batch", *(f"{sides.SIDES[side]}, img/s" for side in options.sides)]
    heads += [f"dfbench / {sides.SIDES[side]}" for side in options.sides[1:]]
    heads += ["target"] * targeted(options, device)
    rows = [_cells(row, what, options, device) for row in results.measured]
    tables = [table(heads, rows), _memory_table(results, what, options.sides)]
    if rates is not None:
        notes.append(
            f"the device, measured: {rates.flops / 1e12:,.3g} TFLOP/s in a bfloat16 matrix "
            f"product, {rates.bandwidth / 1e9:,.4g} GB/s read and written in a copy"
        )
        tables.append(_roofline_table(results, what, rates))
    if results.notes:
        tables.append(table(["left out"], [[note] for note in results.notes]))
    name = Path(what.script).name
    kept = [one for one in tables if one]
    return page(what.title, name, options.given, packages, notes, kept, device=device.kind)


def _fine(what: Comparison, results: Results, targets: bool) -> bool:
    """Return whether dfbench ran wherever another side did, and no target is missed."""
    for row in results.measured:
        if targets and row.met(what.target(row.mode, row.name)) is False:
            return False
        ran = [series.median is not None for series in row.found.values()]
        ours = row.found.get(sides.DFBENCH)
        if any(ran) and (ours is None or ours.median is None):
            return False
    return any(row.found.get(sides.DFBENCH) for row in results.measured)


def _side(what: Comparison, text: str) -> turns.Side:
    setup = sides.setup_of(text)
    return (what.ours if setup.side in sides.OURS else what.theirs)(setup)


def run(what: Comparison, options: argparse.Namespace) -> int:
    """Measure, write and print the page; what there is of it where something ends the script."""
    if options.worker:
        sides.work(options.worker, lambda text: _side(what, text))
        return 0
    start = time.monotonic()
    turns.end_by_signal()
    clock = turns.Clock(options.warm_up, start + 60 * options.minutes)
    device = sides.find_device(what.script, options.device, clock.limit())
    rates, results = None, Results()
    if options.roofline:
        answer = sides.ask(what.script, "rates", device.environment(), clock.limit())
        rates = None if answer.failed else roofline.Rates(**answer.facts)
        results.notes += [f"the device's rates: {answer.failed}"] * (rates is None)
    try:
        measure_all(what, options, device, clock, results)
    finally:
        text = report(what, results, options, device, rates)
        kind = "-".join(filter(None, [what.kind, options.dtype, options.label]))
        write(text, kind, options.output, device=sides.slug(device.kind))
    return 0 if _fine(what, results, targeted(options, device)) else 1
