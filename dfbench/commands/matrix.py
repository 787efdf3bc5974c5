"""Every detector trained on every dataset and scored on all: `matrix`."""

from __future__ import annotations

import argparse
import dataclasses
import re
import shlex
import statistics
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from dfbench import options
from dfbench.commands.setup import places_of, print_place, start
from dfbench.config import RunConfig, named
from dfbench.degradations import parse_degradations
from dfbench.errors import UserError, one_line
from dfbench.processes import is_first
from dfbench.protocols import Cells, expand, refuse_fixed
from dfbench.selection import (
    Selection,
    assignments,
    check_names,
    protocol_selection,
    refuse_rehearsal,
)
from dfbench.storage.url import shown

if TYPE_CHECKING:
    from pathlib import Path

    from dfbench.progress import Reporter
    from dfbench.results.card import ResultCard
    from dfbench.workflow.matrix import Outcome
    from dfbench.workflow.places import Places

CELLS_FAILED = 3  # exit status


def matrix(args: argparse.Namespace) -> int:
    """Train every model on every dataset with every seed, and score each on all the datasets.

    Call it again to go on: what is prepared, trained or scored already is used again, and a
    training that was cut off is resumed. A cell that fails does not stop the others; they are
    listed at the end, and the exit status is 3. A cell whose test clips are in its training data is
    refused, which is no failure (--allow-leak scores it).

    Several machines or devices share the work by --part 1/N to --part N/N, on the same folders at
    the same time; `dfbench launch` writes such jobs, and `dfbench leaderboard` the pages.

    Lists: `a,b,c` or `a b c`. A union of datasets is one entry in brackets: '(a,b)'.
    """
    chosen = selection(args)
    trainings = len(chosen.configs)
    chosen = dataclasses.replace(chosen, configs=part_of(chosen.configs, args.part))
    if not chosen.configs:
        print(f"part {args.part}: nothing to do, there are {trainings} trainings")
        return 0
    reporter = start(args, *chosen.configs)
    from dfbench.commands.board import board
    from dfbench.workflow.matrix import FAULTS, Plan, make_cells
    from dfbench.workflow.pages import leaderboard as write_pages
    from dfbench.workflow.pages import matrix_text

    places = places_of(args)
    if args.prepare_only:
        return prepare_all(chosen, places, reporter)
    watch, drawn = board(chosen.configs)
    plan = Plan(
        protocol=chosen.protocol,
        resume=True,
        overwrite=args.overwrite,
        allow_leak=args.allow_leak,
        oracle=args.oracle,
        keep_epochs=args.keep_epochs,
        survive=True,
        seeds_parallel=args.seeds_parallel,
    )
    with drawn:
        outcomes = make_cells(chosen.configs, places, plan, watch=watch, reporter=watch.reporter)
    if not is_first():
        return 0
    cards = [outcome.card for outcome in outcomes if outcome.card]
    if cards:
        print(matrix_text([card for card in cards if not card.cell.degrade]))
        print_robustness((o.card, o.path) for o in outcomes if o.card and o.path)
        if args.part is None:
            folder = places.runs_dir / "leaderboard"
            for page in write_pages([places.runs_dir], folder, watch.reporter):
                print(f"page: {page}")
            print_place(places)
        else:
            print(
                f"part {args.part} of {trainings} trainings; pages of all parts: "
                f"dfbench leaderboard {shlex.quote(shown(places.runs_dir))}"
            )
    if args.oracle and cards:
        print(oracle_text(outcomes))
    print(summary(outcomes, chosen))
    if any(outcome.end == "failed" for outcome in outcomes):
        if (places.runs_dir / FAULTS).is_file():
            print(f"tracebacks of faults: {places.runs_dir / FAULTS}")
        return CELLS_FAILED
    return 0


def part_of(configs: Sequence[RunConfig], part: str | None) -> tuple[RunConfig, ...]:
    """Return the trainings of a part `K/N`: number K, counted from 1, and every N-th after it.

    Raises:
      UserError: not such a part.
    """
    if part is None:
        return tuple(configs)
    match = re.fullmatch(r"([0-9]{1,6})/([0-9]{1,6})", part, re.ASCII)
    number, parts = map(int, match.groups()) if match else (0, 0)
    if not 1 <= number <= parts:
        raise UserError(f"--part: '{part}' is no part K/N with K from 1 to N, such as 1/4")
    return tuple(configs[number - 1 :: parts])


def prepare_all(chosen: Selection, places: Places, reporter: Reporter) -> int:
    """Prepare the data of all cells, and fetch weights to start from; return the exit status."""
    from dfbench.classical.catalog import is_classical
    from dfbench.workflow.classical import check_classical, needed_files
    from dfbench.workflow.preparation import prepare_spec
    from dfbench.workflow.training import check_settings

    def fetch(config: RunConfig) -> None:
        check_settings(config, reporter)
        if is_classical(config.model.name):
            needed_files(check_classical(config), config, reporter)

    specs = {(s, c.data): None for c in chosen.configs for s in (c.train, *c.eval)}
    steps: list[Callable[[], Any]] = [
        *(partial(fetch, config) for config in chosen.configs),
        *(partial(prepare_spec, *spec, places, reporter) for spec in specs),
    ]
    failed: dict[str, None] = {}
    for step in steps:
        try:
            step()
        except UserError as error:
            failed[f"failed: {one_line(str(error))}"] = None
    print(
        "\n".join([f"data of {len(chosen.configs)} trainings: {shown(places.data_dir)}", *failed])
    )
    return CELLS_FAILED if failed else 0


def summary(outcomes: Sequence[Outcome], chosen: Selection) -> str:
    """Return how many cells there are, and which were refused or failed, and why."""
    by_end = {end: [o for o in outcomes if o.end == end] for end in ("done", "refused", "failed")}
    before = sum(outcome.reused for outcome in outcomes)
    counts = [f"{len(by_end['done'])} scored ({before} of them before)"]
    counts += [f"{len(by_end[end])} {end}" for end in ("refused", "failed")]
    lines = [f"cells: {', '.join(counts)}"]
    for end in ("refused", "failed"):
        for reason in dict.fromkeys(outcome.reason for outcome in by_end[end]):
            lines.append(f"{end}: {reason}")
            for outcome in by_end[end]:
                config = chosen.configs[outcome.training]
                if outcome.reason == reason:
                    lines.append(
                        f"  {named(config)}, trained on {config.train}, seed {config.seed}, "
                        f"scored on {outcome.spec}"
                    )
    return "\n".join(map(one_line, lines))


def print_robustness(made: Iterable[tuple[ResultCard, Path]]) -> None:
    """Print what degraded crops change, and draw it into the runs' folders."""
    cards = list(made)
    if not any(card.cell.degrade for card, _ in cards):
        return
    from dfbench.report.robustness import sweeps_text
    from dfbench.results.store import StoredCard
    from dfbench.workflow.robustness import write_sweeps

    sweeps, pictures = write_sweeps([StoredCard(path, card) for card, path in cards])
    print(f"\n{sweeps_text(sweeps)}")
    for picture in pictures:
        print(f"sweep: {picture}")


def oracle_text(outcomes: Sequence[Outcome]) -> str:
    """Return what the oracle gaps of the cells are, in short; they stand in the cards."""
    cards = [o.card for o in outcomes if o.card and not o.card.cell.degrade]
    gains = [c.oracle.gain for c in cards if c.oracle and c.oracle.gain is not None]
    lines = []
    if gains:
        lines.append(
            "oracle gap, what choosing the epoch on the test data would have added to the video "
            f"AUC: mean {statistics.fmean(gains):.3f}, largest {max(gains):.3f}, of {len(gains)} "
            "cells; nothing is ranked by it"
        )
    if missing := sum(card.oracle is None for card in cards):
        lines.append(
            f"no oracle gap in {missing} cells: trained without --oracle, or the epochs are "
            "deleted; --overwrite trains again"
        )
    return "\n".join(lines)


def selection(args: argparse.Namespace) -> Selection:
    """Return the trainings of the args, or those of a protocol; names are checked.

    Raises:
      UserError: a wrong setting or protocol, or an unknown dataset or network.
    """
    refuse_rehearsal(args)
    if args.protocol:
        return protocol_selection(args, ("datasets", "models", "seeds", "eval", "degrade"))
    datasets = spec_list(args.datasets)
    if not datasets:
        raise UserError(
            "no datasets: --datasets SPEC,SPEC (`dfbench datasets` lists the names), or --protocol"
        )
    changes = assignments(args.set)
    refuse_fixed(changes, "--set", "--datasets, --models and --seeds fix the cells")
    cells = Cells(
        train=tuple(datasets),
        eval=tuple(dict.fromkeys([*datasets, *spec_list(args.eval)])),
        model=tuple(_words(args.models)) or ("meso4",),
        seed=tuple(_seeds(args.seeds)) or (0,),
        degrade=tuple(one.text for one in parse_degradations(args.degrade, "--degrade")),
    )
    configs = tuple(expand(cells, changes, "--set"))
    check_names(configs)
    return Selection(configs)


def spec_list(texts: Sequence[str]) -> list[str]:
    """Split lists of datasets; `(a,b)` is a union, `folder:PATH` may hold commas.

    Raises:
      UserError: a bracket that is not closed, or an empty entry.
    """
    from dfbench.data.spec import split_union

    found: list[str] = []
    for text in texts:
        rest = text.strip()
        while rest:
            if rest.startswith("("):
                union = re.match(r"\((.*?)\)\s*(?:,|$)", rest)
                if union is None:
                    raise UserError(f"'{text}': a union is one entry in brackets: '(a,b)'")
                found.append(union[1].strip())
                rest = "," + rest[union.end() :]
            else:
                plain, opened, after = rest.partition(",(")
                found += split_union(plain)
                rest = "," + opened[1:] + after if opened else ""
            rest = rest.removeprefix(",").strip()
    if "" in found:
        raise UserError(f"'{' '.join(texts)}': an entry of the list is empty")
    return list(dict.fromkeys(found))


def _words(texts: Iterable[str]) -> list[str]:
    words = (word.strip() for text in texts for word in text.split(","))
    return list(dict.fromkeys(word for word in words if word))


def _seeds(texts: Iterable[str]) -> list[int]:
    words = _words(texts)
    for word in words:
        if not (word.isascii() and word.isdigit() and int(word) < 2**31):
            raise UserError(f"--seeds: '{word}' is no seed; seeds are whole numbers such as 0,1,2")
    return list(dict.fromkeys(map(int, words)))


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `matrix`."""
    for name, metavar, text in (
        ("datasets", "SPEC", "datasets to train on, each, and to score, all"),
        ("models", "NAME", "networks (default: meso4); `dfbench models` lists them"),
        ("seeds", "N", "seeds of weights and order (default: 0)"),
        ("eval", "SPEC", "datasets to score besides"),
    ):
        parser.add_argument(f"--{name}", nargs="+", default=[], metavar=metavar, help=text)
    options.degrade_option(parser)
    options.protocol_option(parser)
    options.setting_options(parser)
    options.data_options(parser)
    options.runs_option(parser)
    options.job_options(parser)
    parser.add_argument(
        "--part",
        metavar="K/N",
        help="of the trainings only number K, K+N, K+2N, ..; write no pages",
    )
    parser.add_argument(
        "--prepare-only",
        action="store_true",
        help="prepare the data of all cells, fetch weights, and stop",
    )
    parser.add_argument("--overwrite", action="store_true", help="train and score all again")
    options.leak_option(parser)
    options.oracle_options(parser)
    options.seeds_option(parser)
