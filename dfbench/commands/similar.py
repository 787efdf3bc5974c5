"""The crops of a dataset that are most like a picture: `similar`."""

from __future__ import annotations

import argparse
from pathlib import Path

from dfbench import config, options
from dfbench.commands.setup import folder_of, make_reporter, places_of, start
from dfbench.errors import UserError
from dfbench.selection import assignments
from dfbench.storage.url import place


def similar(args: argparse.Namespace) -> None:
    """Find the crops of a dataset that are most like a picture's face, real or forged.

    The biggest face of each QUERY is cut out as the dataset's crops are, and compared with all of
    them by its Harris corners, or by what a network makes of it before its last layers. Of each
    clip the most similar crop is listed. Writes similar.json and similar.png, a sheet of crops.

    What is computed of the dataset's crops is kept beside them; a second query uses it again.
    """
    from dfbench.data.spec import parse_spec

    if args.by is not None and args.checkpoint is not None:
        raise UserError("--by and --checkpoint exclude each other: both say what compares")
    if args.init is not None and args.by is None:
        raise UserError("--init gives the weights of a network: name one with --by")
    parse_spec(args.spec)
    if args.checkpoint is not None:
        args.checkpoint = folder_of(args.checkpoint)
    settings = _settings(args)
    network = args.checkpoint is not None or args.by not in (None, "harris")
    reporter = start(args, settings) if network else make_reporter()
    from dfbench.workflow.similar_files import JSON, SHEET, similar_text
    from dfbench.workflow.similar_files import similar as find

    report = find(
        args.queries,
        args.spec,
        settings.data,
        places_of(args),
        args.out,
        by=args.by or "harris",
        init=args.init,
        run_dir=args.checkpoint,
        metric=args.metric,
        top=args.top,
        middle=args.middle,
        cropped=args.cropped,
        reporter=reporter,
    )
    if args.json:
        print((args.out / JSON).read_text(encoding="utf-8").rstrip())
        return
    print(similar_text(report))
    for name in (JSON, SHEET):
        print(f"page: {args.out / name}")


def _settings(args: argparse.Namespace) -> config.RunConfig:
    """Return the settings of the arguments; with a training, changes of its own."""
    changes = assignments(args.set)
    toml = args.checkpoint / "config.toml" if args.checkpoint else None
    if toml and toml.is_file():
        own = config.to_dict(config.read_toml(toml))
        return config.from_dict(config.merge(own, changes), "--set")
    return config.from_dict(changes, "--set")


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `similar`."""
    parser.add_argument(
        "queries",
        nargs="+",
        type=Path,
        metavar="QUERY",
        help="image, video (its middle), or folder of them",
    )
    parser.add_argument(
        "--in", dest="spec", required=True, metavar="SPEC", help=f"{options.SPEC_HELP}; searched"
    )
    parser.add_argument(
        "--by",
        metavar="NAME",
        help="harris (default), or a network: resnet18, keras:MobileNetV2, ..",
    )
    parser.add_argument(
        "--init", metavar="WEIGHTS", help="weights of that network: imagenet (default), or a file"
    )
    parser.add_argument(
        "--checkpoint",
        type=place,
        metavar="RUN",
        help="folder of a finished training: compare by its network, and cut crops as it does",
    )
    parser.add_argument(
        "--metric", choices=("cosine", "euclidean"), default="cosine", help="(default: cosine)"
    )
    parser.add_argument(
        "--top", type=int, default=10, metavar="N", help="matches of a query (default: 10)"
    )
    parser.add_argument(
        "--middle",
        action="store_true",
        help="search the middle crop of each clip alone, as audit does: faster",
    )
    parser.add_argument(
        "--cropped",
        action="store_true",
        help="the queries are crops already: take them as they are",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("similar"), metavar="DIR", help="(default: similar)"
    )
    options.setting_options(parser)
    options.data_options(parser)
    options.list_options(parser)
