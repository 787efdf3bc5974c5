"""Training and scoring: `run`, `train`, `eval`, `models`."""

from __future__ import annotations

import argparse
import json

from dfbench import config
from dfbench.commands.matrix import oracle_text, print_robustness
from dfbench.commands.setup import places_of, places_of_run, print_place, start
from dfbench.degradations import parse_degradations
from dfbench.paths import from_home
from dfbench.processes import is_first
from dfbench.selection import selection
from dfbench.storage.url import shown


def run(args: argparse.Namespace) -> None:
    """Train on one dataset, score it on its own test split and on others, write the leaderboard.

    Prepares data that is not there yet; reuses data and finished trainings that are.
    """
    chosen = selection(args)
    configs = chosen.configs
    reporter = start(args, *configs)
    from dfbench.workflow.matrix import Plan, make_cells
    from dfbench.workflow.pages import leaderboard as write_pages
    from dfbench.workflow.pages import matrix_text

    def watch(training: int, spec: str | None, status: str, text: str = "") -> None:
        if len(configs) > 1 and spec is None and status == "training":
            one = configs[training]
            reporter.say(
                f"\n[{training + 1}/{len(configs)}] {config.named(one)}, trained on {one.train}"
            )

    places = places_of(args)
    plan = Plan(
        protocol=chosen.protocol,
        resume=args.resume,
        overwrite=args.overwrite,
        allow_leak=args.allow_leak,
        oracle=args.oracle,
        keep_epochs=args.keep_epochs,
    )
    outcomes = make_cells(configs, places, plan, watch=watch, reporter=reporter)
    if not is_first():
        return
    pages = write_pages([places.runs_dir], places.runs_dir / "leaderboard", reporter)
    made = [(one.card, one.path) for one in outcomes if one.card and one.path]
    print(matrix_text([card for card, _ in made if not card.cell.degrade]))
    print_robustness(made)
    if args.oracle:
        print(oracle_text(outcomes))
    for outcome in outcomes:
        print(f"card: {shown(outcome.path)}")
    for page in pages:
        print(f"page: {page}")
    print_place(places)


def train(args: argparse.Namespace) -> None:
    """Train one detector; the checkpoint is chosen on the training dataset's own val split."""
    configs = selection(args).configs
    reporter = start(args, *configs)
    from dfbench.workflow.training import train as fit

    places = places_of(args)
    for one in configs:
        folder = fit(
            one,
            places,
            resume=args.resume,
            overwrite=args.overwrite,
            reporter=reporter,
        )
        print(f"run: {shown(folder)}")


def evaluate(args: argparse.Namespace) -> None:
    """Score a finished training on the test split of other datasets."""
    degrade = parse_degradations(args.degrade, "--degrade")
    places, folder = places_of_run(args, args.run)
    settings = folder / "config.toml"
    reporter = start(args, *([config.read_toml(settings)] if settings.is_file() else []))
    from dfbench.workflow.evaluate import evaluate as score
    from dfbench.workflow.pages import matrix_text

    made = []
    for spec in map(from_home, args.eval):
        for one in ("", *(d.text for d in degrade)):
            card, path = score(
                folder,
                spec,
                places,
                degrade=one,
                overwrite=args.overwrite,
                allow_leak=args.allow_leak,
                reporter=reporter,
            )
            made.append((card, path))
            if not one:
                print(matrix_text([card]))
            print(f"card: {shown(path)}")
    if is_first():
        print_robustness(made)


def models(args: argparse.Namespace) -> None:
    """List the networks, or describe one: its layers, by whose names training freezes them.

    Any network of Keras is one too, as `keras:NAME`, where Keras is installed. Below them are the
    classical models, which scikit-learn fits to features of the crops.
    """
    from dfbench.classical import catalog
    from dfbench.models import listing
    from dfbench.models.registry import all_models, check_name, get_model

    if args.name in catalog.CLASSICAL:
        spec = catalog.CLASSICAL[args.name]
        values = catalog.spec_values(spec)
        print(json.dumps(values, indent=1) if args.json else catalog.model_text(spec))
        return
    if args.name:
        check_name(args.name, others=catalog.CLASSICAL)
        values = listing.model_values(get_model(args.name))
        print(json.dumps(values, indent=1) if args.json else listing.model_text(values))
        return
    rows = [listing.spec_values(spec) for spec in all_models()]
    if args.json:
        print(
            json.dumps(
                rows + [catalog.spec_values(s) for s in catalog.CLASSICAL.values()], indent=1
            )
        )
        return
    print(listing.models_text(rows))
    print()
    print(catalog.models_text(catalog.CLASSICAL.values()))
