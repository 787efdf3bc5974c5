"""The command line: one function a command, heavy imports inside it, so that help is instant.

Exit status: 0 done, 1 a fault of ours, 2 the user's input, 130 interrupted.
"""

from __future__ import annotations

import argparse
import dataclasses
import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from dfbench import __version__, config, options
from dfbench.errors import UserError, nearest, one_line
from dfbench.paths import cache_dir, compile_cache_dir, default_data_dir
from dfbench.progress import Reporter, bar

if TYPE_CHECKING:
    from dfbench.faces.extract import Extract
    from dfbench.workflow.places import Places


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        parser = _parser()
        _suggest_command(arguments)
        args = parser.parse_args(arguments)
        if not hasattr(args, "function"):
            parser.print_help()
            return 0
        _quiet_libraries(args.verbose)
        args.function(args)
    except UserError as error:
        print(f"dfbench: {one_line(str(error))}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("dfbench: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `dfbench datasets | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        traceback.print_exc()
        print(
            "dfbench: this is a fault of dfbench, not of your input; please report it",
            file=sys.stderr,
        )
        return 1
    return 0


def _suggest_command(arguments: Sequence[str]) -> None:
    word = next((a for a in arguments if not a.startswith("-")), None)
    if word is not None and word not in COMMANDS:
        hint = nearest(word, COMMANDS) or f"; there are {', '.join(COMMANDS)}"
        raise UserError(f"unknown command '{word}'{hint}")


def _quiet_libraries(verbose: bool) -> None:
    """Keep the C++ log lines of MediaPipe, XLA and absl from users who did not ask."""
    if verbose:
        os.environ["DFBENCH_VERBOSE"] = "1"  # for the processes that find faces
        return
    for name, value in {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        "GLOG_minloglevel": "3",
        "GRPC_VERBOSITY": "NONE",
        "OPENCV_LOG_LEVEL": "SILENT",
        "OPENCV_FFMPEG_LOGLEVEL": "-8",
    }.items():
        os.environ.setdefault(name, value)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dfbench",
        description="How well does a deepfake detector trained on dataset A work on dataset B?",
        epilog="Example: dfbench run --train synth_swap --eval synth_blend --model meso4",
    )
    parser.add_argument("--version", action="version", version=f"dfbench {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND")
    for name, (function, summary, add_options) in COMMANDS.items():
        sub = commands.add_parser(
            name,
            help=summary,
            description=inspect.cleandoc(function.__doc__ or summary),
            formatter_class=argparse.RawDescriptionHelpFormatter,
            allow_abbrev=False,  # or `run --detector x` would be its --detector-model
        )
        sub.add_argument("--verbose", action="store_true", help="let libraries log to stderr")
        add_options(sub)
        sub.set_defaults(function=function)
    return parser


# --- commands ------------------------------------------------------------------------------------


def run(args: argparse.Namespace) -> None:
    """Train on one dataset, score it on its own test split and on others, write the leaderboard.

    Prepares data that is not there yet; reuses data and finished trainings that are.
    """
    configs = options.configs(args)
    reporter = _start(*configs)
    from dfbench.workflow.evaluate import evaluate as score
    from dfbench.workflow.leaks import check_cells
    from dfbench.workflow.pages import leaderboard as write_pages
    from dfbench.workflow.pages import matrix_text
    from dfbench.workflow.training import train as fit

    places = _places(args)
    protocol = options.protocol_name(args)
    check_cells(configs, places, allow_leak=args.allow_leak, reporter=reporter)
    cards = []
    for number, one in enumerate(configs, 1):
        if len(configs) > 1:
            reporter.say(f"\n[{number}/{len(configs)}] {one.model.name}, trained on {one.train}")
        folder = fit(one, places, resume=args.resume, overwrite=args.overwrite, reporter=reporter)
        cards += [
            score(
                folder,
                spec,
                places,
                scoring=one.scoring,
                protocol=protocol,
                overwrite=args.overwrite,
                allow_leak=args.allow_leak,
                reporter=reporter,
            )
            for spec in dict.fromkeys((one.train, *one.eval))
        ]
    pages = write_pages([places.runs_dir], places.runs_dir / "leaderboard", reporter)
    print(matrix_text([card for card, _ in cards]))
    for _, path in cards:
        print(f"card: {path}")
    for page in pages:
        print(f"page: {page}")


def prepare(args: argparse.Namespace) -> None:
    """Find and crop the faces of a dataset and pack them, once; later runs reuse them."""
    from dfbench.data.spec import parse_spec

    settings = options.prepare_settings(args)
    specs = [spec for text in args.spec for spec in parse_spec(text)]
    extract = _extraction(args)
    reporter = _reporter()
    from dfbench.workflow.preparation import prepare_one, prepared_text

    for spec in specs:
        prepared = prepare_one(
            spec, settings.data, _places(args), reporter, raw=args.raw, extract=extract
        )
        print(prepared_text(prepared))


def _extraction(args: argparse.Namespace) -> Extract:
    """Return the function that finds the faces.

    Raises:
      UserError: no Apache Beam, or options that it does not have.
    """
    if args.runner == "beam":
        from dfbench.faces.beam import beam_extraction

        return beam_extraction(args.beam_option)
    if args.beam_option:
        raise UserError("--beam-option needs --runner beam")
    from dfbench.faces.extract import extract_clips

    return extract_clips


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
    settings = config.from_dict(options.assignments(args.set), "--set")
    reporter = _reporter()
    from dfbench.data.export import export as write
    from dfbench.workflow.preparation import prepare_spec

    datasets = prepare_spec(args.spec, settings.data, _places(args), reporter)
    with reporter.bar(f"{args.spec}: writing images", "image") as progress:
        count = write(datasets, args.out, progress=progress)
    print(f"{count} images: {args.out}")


def audit(args: argparse.Namespace) -> None:
    """Say what training and evaluated data share: clips, people, source videos, look-alikes.

    Compares the train and val splits of one dataset with the test split of another, or of the same
    one, and writes audit.json and audit.png, a sheet of examples. Overlap is no error here.
    """
    from dfbench.data.spec import parse_spec

    settings = config.from_dict(options.assignments(args.set), "--set")
    for spec in (args.train, args.eval):
        parse_spec(spec)
    toml = args.model / "config.toml" if args.model else None
    reporter = _start(config.read_toml(toml)) if toml and toml.is_file() else _reporter()
    from dfbench.workflow.audit import audit as compare
    from dfbench.workflow.audit import audit_text

    report = compare(
        args.train,
        args.eval,
        settings.data,
        _places(args),
        args.out,
        run_dir=args.model,
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


def models(args: argparse.Namespace) -> None:
    """List the networks, or describe one: its layers, by whose names training freezes them.

    Any network of Keras is one too, as `keras:NAME`, where Keras is installed.
    """
    from dfbench.models import listing
    from dfbench.models.registry import all_models, get_model

    if args.name:
        values = listing.model_values(get_model(args.name))
        print(json.dumps(values, indent=1) if args.json else listing.model_text(values))
        return
    rows = [listing.spec_values(spec) for spec in all_models()]
    print(json.dumps(rows, indent=1) if args.json else listing.models_text(rows))


def train(args: argparse.Namespace) -> None:
    """Train one detector; the checkpoint is chosen on the training dataset's own val split."""
    configs = options.configs(args)
    reporter = _start(*configs)
    from dfbench.workflow.training import train as fit

    for one in configs:
        folder = fit(
            one,
            _places(args),
            resume=args.resume,
            overwrite=args.overwrite,
            reporter=reporter,
        )
        print(f"run: {folder}")


def evaluate(args: argparse.Namespace) -> None:
    """Score a finished training on the test split of other datasets."""
    settings = args.run / "config.toml"
    reporter = _start(*([config.read_toml(settings)] if settings.is_file() else []))
    from dfbench.workflow.evaluate import evaluate as score
    from dfbench.workflow.pages import matrix_text

    places = dataclasses.replace(_places(args), runs_dir=args.run.parent)
    for spec in args.eval:
        card, path = score(
            args.run,
            spec,
            places,
            overwrite=args.overwrite,
            allow_leak=args.allow_leak,
            reporter=reporter,
        )
        print(matrix_text([card]))
        print(f"card: {path}")


def leaderboard(args: argparse.Namespace) -> None:
    """Write README.md, leaderboard.csv and matrix.png from the result cards found."""
    from dfbench.workflow.pages import leaderboard as write_pages
    from dfbench.workflow.pages import load, matrix_text

    out = args.out or args.cards[0] / "leaderboard"
    pages = write_pages(args.cards, out, _reporter())
    if args.json:
        print(json.dumps([str(page) for page in pages], indent=1))
        return
    print(matrix_text(load(args.cards)))
    for page in pages:
        print(f"page: {page}")


def _places(args: argparse.Namespace) -> Places:
    from dfbench.workflow.places import Places

    return Places(
        data_dir=args.data_dir or default_data_dir(),
        runs_dir=getattr(args, "runs_dir", Path("runs")),
        detector_model=args.detector_model,
        jobs=args.jobs,
    )


def _reporter() -> Reporter:
    return Reporter(say=lambda line: print(line, file=sys.stderr, flush=True), bar=bar)


def _start(*configs: config.RunConfig) -> Reporter:
    """Set JAX up for the batch sizes of `configs`, with its compiled programs cached."""
    cache_dir().mkdir(parents=True, exist_ok=True)
    from dfbench.train.parallel import enable_compile_cache, use_cpu_cores

    use_cpu_cores(*(n for c in configs for n in (c.training.batch_size, c.scoring.batch_size)))
    enable_compile_cache(compile_cache_dir())
    return _reporter()


Command = tuple[
    Callable[[argparse.Namespace], None], str, Callable[[argparse.ArgumentParser], None]
]
COMMANDS: dict[str, Command] = {
    "run": (run, "train on A, score on A and B, write the leaderboard", options.run_options),
    "prepare": (prepare, "find, crop and pack the faces of a dataset", options.prepare_options),
    "doctor": (doctor, "look through a raw download before it is prepared", options.doctor_options),
    "export": (export, "write a prepared dataset's crops as image files", options.export_options),
    "audit": (audit, "say what training and evaluated data share", options.audit_options),
    "datasets": (datasets, "list the datasets", options.named_list_options),
    "models": (models, "list the networks", options.named_list_options),
    "train": (train, "train one detector", options.training_options),
    "eval": (evaluate, "score a finished training on other datasets", options.eval_options),
    "leaderboard": (
        leaderboard,
        "write the leaderboard from result cards",
        options.leaderboard_options,
    ),
}

if __name__ == "__main__":
    sys.exit(main())
