"""Options of the command line; `dfbench.selection` has what they stand for."""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
from pathlib import Path
from typing import Any, get_args

from dfbench import config
from dfbench.errors import one_line
from dfbench.paths import default_data_dir
from dfbench.storage.url import place

SEEDS_AT_ONCE = 8
SPEC_HELP = "dataset: NAME, folder:PATH, sbi:PATH, or several with commas (a union)"


def data_options(parser: argparse.ArgumentParser) -> None:
    """Add where data lie and how they are prepared."""
    parser.add_argument(
        "--data-dir",
        type=place,
        metavar="DIR",
        help=f"prepared data: folder, s3:// or gs:// URL (default {default_data_dir()})",
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
    parser.add_argument(
        "--clip-timeout",
        type=_seconds,
        default=600.0,
        metavar="S",
        help="give a raw file up that has shown no progress for so many seconds (default: 600), or "
        "is not done after 24 times as many",
    )


def _seconds(text: str) -> float:
    """Return a time above 0.

    Raises:
      ArgumentTypeError: it is something else.
    """
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"'{one_line(text)}': seconds, more than 0")
    return value


def setting_options(parser: argparse.ArgumentParser) -> None:
    """Add `--set`, and every setting with its default to the help."""
    set_option(parser, "keys below")
    parser.epilog = "settings and their defaults:\n" + "\n".join(
        f"  {name} = {_plain(name, value)}" for name, value in _defaults()
    )


def set_option(parser: argparse.ArgumentParser, keys: str) -> None:
    """Add `--set`; `keys` says where they are listed."""
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help=f"change a setting, for example --set optim.lr=1e-4 (repeatable; {keys})",
    )


def _defaults() -> list[tuple[str, Any]]:
    tree = dataclasses.asdict(config.RunConfig())
    found = []
    for name in config.setting_names():
        value: Any = tree
        for part in name.split("."):
            value = value[part]
        # These have options of their own.
        if name not in ("train", "eval", "degrade", "system", "model.name", "seed"):
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
    protocol_option(parser)
    setting_options(parser)
    data_options(parser)
    runs_option(parser)
    job_options(parser)
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted training")
    parser.add_argument("--overwrite", action="store_true", help="train again from the start")


def protocol_option(parser: argparse.ArgumentParser) -> None:
    """Add `--protocol`."""
    parser.add_argument(
        "--protocol",
        metavar="NAME",
        help="shipped protocol (`dfbench protocols` lists them), or TOML file, that fixes cells "
        "and settings",
    )
    parser.add_argument(
        "--rehearse",
        action="store_true",
        help="of --protocol: run it in small, on the embedded datasets; its numbers say nothing",
    )


def runs_option(parser: argparse.ArgumentParser) -> None:
    """Add where results go."""
    parser.add_argument(
        "--runs-dir",
        type=place,
        default=Path("runs"),
        metavar="DIR",
        help="results: folder, s3:// or gs:// URL (default: runs)",
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
    degrade_option(parser)
    training_options(parser)
    leak_option(parser)
    oracle_options(parser)


def degrade_option(parser: argparse.ArgumentParser) -> None:
    """Add `--degrade`."""
    parser.add_argument(
        "--degrade",
        action="append",
        default=[],
        metavar="KIND:N[,..]",
        help="score each dataset also with degraded crops: jpeg:QUALITY, blur:SIGMA px, "
        "resize:FACTOR, noise:SIGMA of 255; a sweep is jpeg:90+50+30; never ranked by",
    )


def job_options(parser: argparse.ArgumentParser) -> None:
    """Add how several processes find each other."""
    group = parser.add_argument_group(
        "several processes",
        "one training on the devices of many machines, that see the same folders; found by itself "
        "in a SLURM step with several tasks, under Open MPI and on TPUs",
    )
    group.add_argument("--coordinator", metavar="HOST:PORT", help="where process 0 listens")
    group.add_argument("--processes", type=int, metavar="N", help="how many there are; 1: alone")
    group.add_argument("--process", type=int, metavar="I", help="number of this one, from 0")


def leak_option(parser: argparse.ArgumentParser) -> None:
    """Add `--allow-leak`."""
    parser.add_argument(
        "--allow-leak",
        action="store_true",
        help="score a dataset even where its test clips were trained on; the card says so",
    )


def seeds_option(parser: argparse.ArgumentParser) -> None:
    """Add `--seeds-parallel`."""
    parser.add_argument(
        "--seeds-parallel",
        type=_seeds_at_once,
        nargs="?",
        const=SEEDS_AT_ONCE,
        default=1,
        metavar="N",
        help="train those that differ in their seed alone together, at most N at once (without a "
        f"number {SEEDS_AT_ONCE}), where the network is small; see docs/protocols.md",
    )


def _seeds_at_once(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1000):
        raise argparse.ArgumentTypeError(f"'{one_line(text)}': a whole number, 1 or more")
    return int(text)


def oracle_options(parser: argparse.ArgumentParser) -> None:
    """Add `--oracle` and `--keep-epochs`."""
    parser.add_argument(
        "--oracle",
        action="store_true",
        help="also score every epoch, and say in the card what choosing the epoch on the test data "
        "would have gained; never ranked by",
    )
    parser.add_argument(
        "--keep-epochs",
        action="store_true",
        help="keep the parameters of every epoch (--oracle deletes them after scoring)",
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
        "--protocol",
        metavar="NAME",
        help="prepare as this protocol wants it, in each way if there are several",
    )
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
    parser.add_argument(
        "run", type=place, metavar="RUN", help="folder or URL of a finished training"
    )
    parser.add_argument("--eval", nargs="+", required=True, metavar="SPEC", help=SPEC_HELP)
    degrade_option(parser)
    data_options(parser)
    job_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="score again")
    leak_option(parser)


def audit_options(parser: argparse.ArgumentParser) -> None:
    """Add the options of `audit`."""
    parser.add_argument("--train", metavar="SPEC", required=True, help=SPEC_HELP)
    parser.add_argument("--eval", metavar="SPEC", required=True, help="dataset that is scored")
    parser.add_argument(
        "--model",
        type=place,
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
        type=place,
        metavar="DIR",
        help="folders or URLs with result cards, such as those of several machines (default: runs)",
    )
    parser.add_argument(
        "--from",
        dest="more",
        action="extend",
        nargs="+",
        type=place,
        default=[],
        metavar="DIR",
        help="the same, as an option",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help="where to write (default: leaderboard/ in the first DIR, or here where that is a URL)",
    )
    parser.add_argument(
        "--collect",
        type=Path,
        metavar="RESULTS",
        help="first copy cards and scores, without checkpoints, into this folder; show all of it",
    )
    list_options(parser)


def named_list_options(parser: argparse.ArgumentParser) -> None:
    """Add an optional name and `--json`."""
    parser.add_argument("name", nargs="?", metavar="NAME", help="describe this one")
    list_options(parser)
