"""What most commands begin with: where things lie, what is said, and JAX set up."""

from __future__ import annotations

import argparse
import dataclasses
import gc
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dfbench import processes
from dfbench.config import RunConfig
from dfbench.errors import UserError
from dfbench.paths import cache_dir, compile_cache_dir, default_data_dir
from dfbench.progress import SILENT, Reporter, bar
from dfbench.selection import job_of
from dfbench.storage.url import Url, shown

if TYPE_CHECKING:
    from dfbench.faces.worker import Limits
    from dfbench.storage.mirror import Mirror
    from dfbench.workflow.places import Places


def places_of(args: argparse.Namespace) -> Places:
    """Return the folders that the arguments name."""
    from dfbench.workflow.places import Places

    data, runs = args.data_dir or default_data_dir(), getattr(args, "runs_dir", Path("runs"))
    data_mirror, runs_mirror = _mirror(data), _mirror(runs)
    if runs_mirror is not None:
        runs_mirror.check()
    return Places(
        data_dir=data_mirror.stage.files if data_mirror else data,
        runs_dir=runs_mirror.stage.files if runs_mirror else runs,
        detector_model=args.detector_model,
        jobs=args.jobs,
        limits=limits_of(args),
        data_mirror=data_mirror,
        runs_mirror=runs_mirror,
    )


def limits_of(args: argparse.Namespace) -> Limits:
    """Return when a raw file is given up."""
    from dfbench.faces.worker import Limits

    return Limits(still_s=args.clip_timeout, whole_s=24 * args.clip_timeout)


def print_place(places: Places) -> None:
    """Say what shows all results, where this machine has a part of them."""
    if places.runs_mirror is not None:
        url = shlex.quote(str(places.runs_mirror.url))
        print(f"these are the results that this machine has; of all: dfbench leaderboard {url}")


def _mirror(place: Path | Url) -> Mirror | None:
    """Open a place in object storage."""
    if isinstance(place, Path):
        return None
    from dfbench.storage.mirror import Mirror

    return Mirror(place, reporter=make_reporter())


def places_of_run(args: argparse.Namespace, run: Path | Url) -> tuple[Places, Path]:
    """Return the folders for what is done with a finished training, and its own; it is fetched.

    Raises:
      UserError: it is in object storage, and cannot be fetched.
    """
    if isinstance(run, Path):
        return dataclasses.replace(places_of(args), runs_dir=run.parent), run
    from dfbench.workflow.mirrored import fetch_run

    args.runs_dir = run.parent
    places = places_of(args)
    folder = places.runs_dir / run.name
    fetch_run(places, folder, make_reporter())
    return places, folder


def folder_of(run: Path | Url) -> Path:
    """Return the folder of a finished training that is only read; it is fetched.

    Raises:
      UserError: it is in object storage, and cannot be fetched.
    """
    if isinstance(run, Path):
        return run
    if run.name.endswith(".json"):
        raise UserError(f"{run}: a URL has to be that of a run, not of a card")
    from dfbench.storage.mirror import Mirror
    from dfbench.workflow.mirrored import BEST, RUN, is_small

    mirror = Mirror(run.parent, reporter=make_reporter())
    mirror.pull(run.name, RUN, lambda piece: piece == BEST or is_small(piece))
    return mirror.stage.path(run.name)


def cards_of(place: Path | Url, *, runs: bool = False) -> Path:
    """Return a folder with cards, or a card; those in object storage are copied here.

    Raises:
      UserError: they are in object storage, and cannot be read.
    """
    if isinstance(place, Path):
        return place
    from dfbench.workflow.copies import copy_cards

    return copy_cards(place, make_reporter(), runs=runs)


def on_this_machine(place: Path | Url, option: str) -> Path:
    """Return a folder that has to be one of this machine.

    Raises:
      UserError: it is a URL.
    """
    if isinstance(place, Path):
        return place
    raise UserError(f"{option} {place}: has to be a folder of this machine")


def make_reporter() -> Reporter:
    """Return what says lines and draws bars on the terminal."""
    return Reporter(say=lambda line: print(shown(line), file=sys.stderr, flush=True), bar=bar)


def _keep_stdout() -> None:
    """Let C++ libraries print to stderr, as Gloo does; stdout is for what commands print."""
    own = os.dup(sys.stdout.fileno())
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    sys.stdout = os.fdopen(own, "w", encoding="utf-8")


def start(args: argparse.Namespace, *configs: RunConfig) -> Reporter:
    """Set JAX up for the batch sizes of `configs`, with its compiled programs cached.

    Where the command is one of several processes, they meet here; only the first one speaks.
    """
    cache_dir().mkdir(parents=True, exist_ok=True)
    from dfbench.train.parallel import enable_compile_cache, use_cpu_cores

    if (job := job_of(args)) is not None:
        _keep_stdout()
        processes.join(job)
    use_cpu_cores(*(n for c in configs for n in (c.training.batch_size, c.scoring.batch_size)))
    enable_compile_cache(compile_cache_dir())
    processes.check_devices()
    gc.collect()
    gc.freeze()  # what is imported stays: to look through it took a tenth of the time of the input
    return make_reporter() if processes.is_first() else SILENT
