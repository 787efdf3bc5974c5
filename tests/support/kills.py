"""A command that is killed at random moments and started again until it is done.

`python -m support.kills HOME WHOLE` compares what it made with what was made undisturbed.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from support.cards import card_without_times
from support.command import start_dfbench

from dfbench.data.prepared import MARKER
from dfbench.results.store import SCORES, card_paths
from dfbench.signals import INTERRUPTED, STOPPED, TERMINATED
from dfbench.train.checkpoint import BEST, LAST
from dfbench.workflow.record import RECORD

# Most machines die without a word.
SIGNALS = (signal.SIGKILL,) * 4 + (signal.SIGTERM, signal.SIGINT)
POLITE = 10.0  # s, in which who is asked to end has to
STATUSES = (STOPPED, INTERRUPTED, TERMINATED)
ROOTS = Path(__file__).parents[1], Path(__file__).parents[2]  # of imports
CACHE = "cache"  # of compiled programs, in the folder that the command runs in


@dataclass(frozen=True, kw_only=True)
class Kill:
    """One of them.

    Attributes:
        by: The signal's name.
        stage: What had to be done at that moment.
        status: The process's own.
        seconds: Until it had ended.
    """

    by: str
    stage: str
    status: int
    seconds: float

    @property
    def right(self) -> bool:
        """Tell whether it ended as it has to."""
        if self.by == "SIGKILL":
            return self.status == -signal.SIGKILL
        return self.status in STATUSES and self.seconds <= POLITE


@dataclass
class Disturbed:
    """A command that was killed and started again until it was done."""

    seconds: float = 0.0
    kills: list[Kill] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)  # what it said when it ended by itself, badly


def disturb(
    arguments: Sequence[str], home: Path, rng: random.Random, *, span: float, most: int
) -> Disturbed:
    """Run `dfbench ARGUMENTS` in `home`, with at most so many kills, until it ends by itself.

    Each comes up to `span` seconds after the command has first written something: before, it only
    imports. Half of them meet the process alone, the others its workers too.
    """
    made, start = Disturbed(), time.monotonic()
    while True:
        with tempfile.TemporaryFile("w+") as said:
            begun = time.time()
            process = start_dfbench(
                *arguments, cwd=home, cache=home / CACHE, stdout=said, stderr=said
            )
            if len(made.kills) < most and _lives_on(process, home, begun, rng.uniform(0, span)):
                kill = _kill(process, home, rng)
                if kill.status or kill.seconds > POLITE:  # or its end came before the signal
                    made.kills.append(kill)
                    continue
            if process.wait():
                said.seek(0)
                made.faults.append(f"status {process.returncode}: {said.read()[-2000:]}")
        made.seconds = time.monotonic() - start
        return made


def _lives_on(process: subprocess.Popen[str], home: Path, begun: float, seconds: float) -> bool:
    """Wait for the first thing written and then so many seconds; tell whether it still runs."""
    while process.poll() is None and _newest(home) < begun:
        time.sleep(0.05)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(seconds)
    return process.returncode is None


def _newest(home: Path) -> float:
    """Return when something was last written, the cache aside."""
    times = [0.0]
    for path in _files(home):
        with contextlib.suppress(OSError):  # it is gone
            times.append(path.stat().st_mtime)
    return max(times)


def _files(home: Path) -> Iterator[Path]:
    for folder, names, files in os.walk(home):
        if Path(folder) == home:
            names[:] = [name for name in names if name != CACHE]
        yield from (Path(folder, name) for name in files)


def _kill(process: subprocess.Popen[str], home: Path, rng: random.Random) -> Kill:
    number, stage, start = rng.choice(SIGNALS), stage_of(home), time.monotonic()
    if rng.random() < 0.5:
        os.killpg(process.pid, number)
    else:
        process.send_signal(number)
    status = process.wait()
    return Kill(by=number.name, stage=stage, status=status, seconds=time.monotonic() - start)


def stage_of(home: Path) -> str:
    """Say what is to be done next, by what is there."""
    files = list(_files(home))
    names = {path.name for path in files}
    runs = {path.parent for path in files if path.name == "config.toml"}
    if MARKER not in names:
        return "preparing"
    if not runs or any(not (run / RECORD).exists() for run in runs):
        return "training"
    if any(path.name == SCORES and not card_paths(path.parent) for path in files):
        return "writing a card"
    return "between trainings, scoring, pages"


# --- what came out --------------------------------------------------------------------------------


def differences(home: Path, whole: Path) -> list[str]:
    """Compare what a command made with what it made undisturbed, bit by bit.

    In a process of its own: one that has read checkpoints should not fork any more.
    """
    done = subprocess.run(
        [sys.executable, "-m", "support.kills", home, whole],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(map(str, ROOTS)), "JAX_PLATFORMS": "cpu"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(done.stderr)
    return done.stdout.splitlines()


def _differences(home: Path, whole: Path) -> list[str]:
    """Compare what is in `runs`.

    Cards are compared without times and hashes of checkpoints, whose files hold times; of
    checkpoints all arrays, of the optimizer too.
    """
    found = []
    ours, theirs = home / "runs", whole / "runs"
    names = [
        {path.relative_to(runs) for path in runs.rglob("*") if path.name in (SCORES, LAST, BEST)}
        | {path.relative_to(runs) for path in card_paths(runs)}
        for runs in (ours, theirs)
    ]
    found += [f"{name}: only in one of them" for name in sorted(names[0] ^ names[1])]
    for name in sorted(names[0] & names[1]):
        if name.name == SCORES:
            same = (ours / name).read_bytes() == (theirs / name).read_bytes()
        elif name.name in (LAST, BEST):
            same = _equal(_arrays(ours / name), _arrays(theirs / name))
        else:
            same = card_without_times(ours / name) == card_without_times(theirs / name)
        found += [] if same else [f"{name}: differs"]
    left = {path.parent for path in _files(home) if path.parent.name.endswith((".new", ".old"))}
    return found + [f"{path.relative_to(home)}: left over" for path in sorted(left)]


def _arrays(checkpoint: Path) -> Any:
    with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as reader:
        found = reader.restore(
            checkpoint.resolve(),
            ocp.args.Composite(state=ocp.args.PyTreeRestore(), meta=ocp.args.JsonRestore()),
        )
    return {"state": found.state, "meta": found.meta}


def _equal(one: Any, two: Any) -> bool:
    (ours, form), (theirs, other) = jax.tree.flatten(one), jax.tree.flatten(two)
    return form == other and all(
        np.array_equal(a, b, equal_nan=np.asarray(a).dtype.kind == "f")
        and np.asarray(a).dtype == np.asarray(b).dtype
        for a, b in zip(ours, theirs, strict=True)
    )


if __name__ == "__main__":
    for line in _differences(*map(Path, sys.argv[1:])):
        print(line)
