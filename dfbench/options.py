"""Options of the command line, and the configurations they stand for."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from dfbench import config
from dfbench.errors import UserError, nearest
from dfbench.paths import default_data_dir

SPEC_HELP = "dataset: NAME, folder:PATH, sbi:PATH, or several with commas (a union)"


def data_options(parser: argparse.ArgumentParser) -> None:
    """Add where data lie and how they are prepared."""
    parser.add_argument(
        "--data-dir", type=Path, metavar="DIR", help=f"prepared data (default {default_data_dir()})"
    )
    parser.add_argument(
        "--detector-model",
        type=Path,
        metavar="FILE",
        help="MediaPipe face detection model (.tflite), instead of the cached or downloaded one",
    )
    parser.add_argument(
        "--jobs", type=int, default=0, metavar="N", help="processes (default: cores)"
    )


def setting_options(parser: argparse.ArgumentParser) -> None:
    """Add `--set`, and every setting with its default to the help."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting, for example --set optim.lr=1e-4 (repeatable; keys below)",
    )
    parser.epilog = "settings and their defaults:\n" + "\n".join(
        f"  {name} = {_plain(name, value)}" for name, value in _defaults()
    )


def _defaults() -> list[tuple[str, Any]]:
    tree = dataclasses.asdict(config.RunConfig())
    found = []
    for name in config.setting_names():
        value: Any = tree
        for part in name.split("."):
            value = value[part]
        if name not in ("train", "eval", "model.name", "seed"):  # they have options of their own
            found.append((name, value))
    return found


def _plain(name: str, value: Any) -> str:
    if value is not None:
        return json.dumps(value)
    return "(the network's own)" if name.startswith("model.") else "(the dataset's own)"


def training_options(parser: argparse.ArgumentParser) -> None:
    """Add what defines a training."""
    parser.add_argument("--train", metavar="SPEC", help=SPEC_HELP)
    parser.add_argument("--model", metavar="NAME", help="network; `dfbench models` lists them")
    parser.add_argument(
        "--init",
        metavar="WEIGHTS",
        help="weights to start from: imagenet, or a file (.safetensors, .h5); default: random",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed of weights and order")
    parser.add_argument(
        "--protocol",
        metavar="FILE",
        help="TOML file (or name of a shipped one) that fixes cells and settings",
    )
    setting_options(parser)
    data_options(parser)
    runs_option(parser)
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    parser.add_argument("--overwrite", action="store_true", help="train again from the start")


def runs_option(parser: argparse.ArgumentParser) -> None:
    """Add where results go."""
    parser.add_argument(
        "--runs-dir", type=Path, default=Path("runs"), metavar="DIR", help="results (default: runs)"
    )


def run_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `run`."""
    parser.add_argument(
        "--eval",
        nargs="+",
        default=[],
        metavar="SPEC",
        help="datasets to score besides the training one",
    )
    training_options(parser)
    leak_option(parser)


def leak_option(parser: argparse.ArgumentParser) -> None:
    """Add `--allow-leak`."""
    parser.add_argument(
        "--allow-leak",
        action="store_true",
        help="score a dataset even where its test clips were trained on; the card says so",
    )


def prepare_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `prepare`."""
    parser.add_argument("spec", nargs="+", metavar="SPEC", help=SPEC_HELP)
    parser.add_argument("--raw", type=Path, metavar="DIR", help="folder of the raw download")
    parser.add_argument(
        "--detector",
        metavar="NAME",
        help=f"face detector, as --set data.detector: {', '.join(get_args(config.DetectorName))}",
    )
    setting_options(parser)
    data_options(parser)
    parser.add_argument(
        "--runner",
        choices=("local", "beam"),
        default="local",
        help="what finds the faces: processes of this machine (default), or an Apache Beam "
        "pipeline, on this machine or a cluster; see docs/prepare.md",
    )
    parser.add_argument(
        "--beam-option",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="option of the pipeline, for example --beam-option runner=FlinkRunner (repeatable)",
    )


def prepare_settings(args: argparse.Namespace) -> config.RunConfig:
    """Return the settings of `prepare`.

    Raises:
      UserError: a wrong setting, or an unknown detector.
    """
    changes = assignments(args.set)
    if args.detector is not None:
        known = get_args(config.DetectorName)
        if args.detector not in known:
            hint = nearest(args.detector, known) or f"; there are {', '.join(known)}"
            raise UserError(f"--detector: unknown detector '{args.detector}'{hint}")
        changes = config.merge(changes, {"data": {"detector": args.detector}})
    return config.from_dict(changes, "--set")


def export_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `export`."""
    parser.add_argument("spec", metavar="SPEC", help=SPEC_HELP)
    parser.add_argument(
        "--out", type=Path, metavar="DIR", required=True, help="new folder of the images"
    )
    setting_options(parser)
    data_options(parser)


def doctor_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `doctor`."""
    parser.add_argument("spec", metavar="NAME", help="dataset: NAME or NAME/VARIANT")
    parser.add_argument(
        "--raw", type=Path, metavar="DIR", required=True, help="folder of the raw download"
    )
    list_options(parser)


def list_options(parser: argparse.ArgumentParser) -> None:
    """Add `--json`."""
    parser.add_argument("--json", action="store_true", help="print JSON")


def eval_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `eval`."""
    parser.add_argument("run", type=Path, metavar="RUN", help="folder of a finished training")
    parser.add_argument("--eval", nargs="+", required=True, metavar="SPEC", help=SPEC_HELP)
    data_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="score again")
    leak_option(parser)


def audit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `audit`."""
    parser.add_argument("--train", metavar="SPEC", required=True, help=SPEC_HELP)
    parser.add_argument("--eval", metavar="SPEC", required=True, help="dataset that is scored")
    parser.add_argument(
        "--model",
        type=Path,
        metavar="RUN",
        help="folder of a finished training: also look for crops that are alike to its network",
    )
    parser.add_argument(
        "--out", type=Path, default=Path("audit"), metavar="DIR", help="results (default: audit)"
    )
    setting_options(parser)
    data_options(parser)
    list_options(parser)


def leaderboard_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `leaderboard`."""
    parser.add_argument(
        "cards",
        nargs="*",
        type=Path,
        default=[Path("runs")],
        metavar="DIR",
        help="folders with result cards (default: runs)",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write (default: leaderboard/ in the first DIR)",
    )
    list_options(parser)


def named_list_options(parser: argparse.ArgumentParser) -> None:
    """Add an optional name and `--json`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="describe this one")
    list_options(parser)


def configs(args: argparse.Namespace) -> list[config.RunConfig]:
    """One configuration a training, from the args or from a protocol; names are checked."""
    from dfbench.data.spec import parse_spec
    from dfbench.models.registry import check_name

    changes = assignments(args.set)
    evals = list(getattr(args, "eval", []))
    if args.protocol:
        for name in ("train", "model", "init", "seed"):
            if getattr(args, name) is not None:
                raise UserError(
                    f"--{name} and --protocol exclude each other: the protocol fixes the cells"
                )
        path = protocol_path(args.protocol)
        values = config.load_toml(path)
        if evals:
            raise UserError(
                "--eval and --protocol exclude each other: the protocol fixes the cells"
            )
        values["settings"] = config.merge(values.get("settings", {}), changes)
        found = config.protocol_cells(values, str(path))
    else:
        given = {"train": args.train, "seed": args.seed}
        chosen: dict[str, Any] = {k: v for k, v in given.items() if v is not None}
        if evals:
            chosen["eval"] = evals
        if args.model is not None:
            chosen["model"] = {"name": args.model}
        if args.init is not None:
            chosen["model"] = chosen.get("model", {}) | {"init": args.init}
        found = [config.from_dict(config.merge(changes, chosen), "--set")]
    for one in found:
        if not one.train:
            raise UserError(
                "no training dataset: --train SPEC (`dfbench datasets` lists the names)"
            )
        for spec in (one.train, *one.eval):
            parse_spec(spec)
        check_name(one.model.name)
    return found


def assignments(texts: Sequence[str]) -> dict[str, Any]:
    """Merge `KEY=VALUE` texts to nested values; later ones win."""
    return config.merge({}, *(config.parse_assignment(text) for text in texts))


def protocol_path(text: str) -> Path:
    """Find a protocol by path or by the name of a shipped one.

    Raises:
      UserError: neither.
    """
    if Path(text).is_file():
        return Path(text)
    package = Path(__file__).resolve().parent
    checkout = package.parent / "benchmarks" / "protocols"
    folder = checkout if checkout.is_dir() else package / "_protocols"
    shipped = {path.stem: path for path in sorted(folder.glob("*.toml"))}
    if text not in shipped:
        hint = nearest(text, shipped) or f"; shipped ones: {', '.join(shipped)}"
        raise UserError(f"no protocol file '{text}'{hint}")
    return shipped[text]


def protocol_name(args: argparse.Namespace) -> str | None:
    """Return name and version of the protocol in use, if any: `demo-1`."""
    if not args.protocol:
        return None
    path = protocol_path(args.protocol)
    values = config.load_toml(path)
    version = str(values.get("version", ""))
    return "-".join(filter(None, (str(values.get("name", path.stem)), version)))
