"""Datasets: `prepare`, `doctor`, `export`, `audit`, `datasets`."""

from __future__ import annotations

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from dfbench import config
from dfbench.commands.setup import folder_of, limits_of, make_reporter, places_of, start
from dfbench.errors import UserError
from dfbench.selection import assignments, preparations

if TYPE_CHECKING:
    from dfbench.faces.extract import Extract


def prepare(args: argparse.Namespace) -> None:
    """Find and crop the faces of a dataset and pack them, once; later runs reuse them."""
    from dfbench.data.spec import parse_spec

    specs = [spec for text in args.spec for spec in parse_spec(text)]
    wanted = [(spec, one) for spec in specs for one in preparations(args, spec)]
    extract = _extraction(args)
    reporter = make_reporter()
    from dfbench.workflow.preparation import prepare_one, prepared_text

    places = places_of(args)
    for spec, data in wanted:
        prepared = prepare_one(spec, data, places, reporter, raw=args.raw, extract=extract)
        print(prepared_text(prepared))


def _extraction(args: argparse.Namespace) -> Extract | None:
    """Return the function that finds the faces; None: the one of this machine.

    Raises:
      UserError: no Apache Beam, or options that it does not have.
    """
    if args.runner == "beam":
        from dfbench.faces.beam import beam_extraction

        return beam_extraction(args.beam_option, limits_of(args))
    if args.beam_option:
        raise UserError("--beam-option needs --runner beam")
    return None


def doctor(args: argparse.Namespace) -> None:
    """Look through a raw download, in seconds: what is there, what is missing, what to do next."""
    from dfbench.data.doctor import diagnose, diagnosis_text
    from dfbench.data.spec import parse_spec

    specs = parse_spec(args.spec)
    found = [one for spec in specs for one in diagnose(spec, args.raw)]
    if args.json:
        print(json.dumps([dataclasses.asdict(one) for one in found], indent=1))
    else:
        print("\n".join(diagnosis_text(one) for one in found))
    if not any(one.usable for one in found):
        raise UserError(f"{args.raw} cannot be prepared as {args.spec}: {found[0].advice}")


def export(args: argparse.Namespace) -> None:
    """Write the crops of a prepared dataset as image files, with their labels as text."""
    settings = config.from_dict(assignments(args.set), "--set")
    reporter = make_reporter()
    from dfbench.data.export import export as write
    from dfbench.workflow.preparation import prepare_spec

    datasets = prepare_spec(args.spec, settings.data, places_of(args), reporter)
    with reporter.bar(f"{args.spec}: writing images", "image") as progress:
        count = write(datasets, args.out, progress=progress)
    print(f"{count} images: {args.out}")


def audit(args: argparse.Namespace) -> None:
    """Say what training and evaluated data share: clips, people, source videos, look-alikes.

    Compares the train and val splits of one dataset with the test split of another, or of the same
    one, and writes audit.json and audit.png, a sheet of examples. Overlap is no error here.
    """
    from dfbench.data.spec import parse_spec

    settings = config.from_dict(assignments(args.set), "--set")
    for spec in (args.train, args.eval):
        parse_spec(spec)
    run_dir = folder_of(args.model) if args.model else None
    toml = run_dir / "config.toml" if run_dir else None
    reporter = start(args, config.read_toml(toml)) if toml and toml.is_file() else make_reporter()
    from dfbench.workflow.audit import audit as compare
    from dfbench.workflow.audit import audit_text

    report = compare(
        args.train,
        args.eval,
        settings.data,
        places_of(args),
        args.out,
        run_dir=run_dir,
        reporter=reporter,
    )
    if args.json:
        print((args.out / "audit.json").read_text(encoding="utf-8").rstrip())
        return
    print(audit_text(report))
    for name in ("audit.json", "audit.png"):
        print(f"page: {args.out / name}")


def datasets(args: argparse.Namespace) -> None:
    """List the datasets, or say what one is: its README."""
    from dfbench.data.catalog import dataset_entry, dataset_names

    if args.name:
        entry = dataset_entry(args.name)
        if args.json:
            print(json.dumps({"name": entry.name, "summary": entry.summary}, indent=1))
        else:
            print((entry.folder / "README.md").read_text(encoding="utf-8").rstrip())
        return
    entries = [dataset_entry(name) for name in dataset_names()]
    if args.json:
        print(json.dumps([{"name": e.name, "summary": e.summary} for e in entries], indent=1))
        return
    for entry in entries:
        print(f"{entry.name:14} {entry.summary}")
