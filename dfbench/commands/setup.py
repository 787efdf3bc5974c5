"""What most commands begin with: where things lie, what is said, and JAX set up."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from dfbench import processes
from dfbench.config import RunConfig
from dfbench.options import job_of
from dfbench.paths import cache_dir, compile_cache_dir, default_data_dir
from dfbench.progress import SILENT, Reporter, bar

if TYPE_CHECKING:
    from dfbench.workflow.places import Places


def places_of(args: argparse.Namespace) -> Places:
    """Return the folders that the arguments name."""
    from dfbench.workflow.places import Places

    return Places(
        data_dir=args.data_dir or default_data_dir(),
        runs_dir=getattr(args, "runs_dir", Path("runs")),
        detector_model=args.detector_model,
        jobs=args.jobs,
    )


def make_reporter() -> Reporter:
    """Return what says lines and draws bars on the terminal."""
    return Reporter(say=lambda line: print(line, file=sys.stderr, flush=True), bar=bar)


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
    return make_reporter() if processes.is_first() else SILENT
