"""Many inputs by hand: `python tests/fuzz/run.py [--inputs 100000] [--only NAME]`, `make fuzz`.

Each target has a process of its own, which may take so much memory and so many seconds an input. It
ends at the first defect, with the smallest input that shows it. What was run is written as a table
to `tests/fuzz/results`; the exit status is 1 where there was a defect or too few inputs.
"""

from __future__ import annotations

import argparse
import datetime
import faulthandler
import importlib.metadata
import multiprocessing
import os
import platform
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]
os.environ.setdefault("JAX_PLATFORMS", "cpu")

from fuzz import files, weights, words  # noqa: E402
from fuzz.target import Target  # noqa: E402
from hypothesis import HealthCheck, given, seed, settings  # noqa: E402

import dfbench  # noqa: E402
from dfbench.results.environment import machine_name, machine_text  # noqa: E402

TARGETS = (*words.TARGETS, *files.TARGETS, *weights.TARGETS)
ROUND = 1000  # inputs that Hypothesis draws at once: it keeps what it has drawn
MEMORY = 6 * 2**30  # bytes of a process, of which libraries take 2 GiB of addresses
SECONDS = 60  # of an input, by the process's own time
LINES, LETTERS = 8, 3000  # of what is told of a defect, from its start and from its end
PACKAGES = ("hypothesis", "h5py", "msgspec", "numpy", "pyarrow", "safetensors")


@dataclass(frozen=True)
class Ran:
    """What became of a target."""

    name: str
    inputs: int
    seconds: float
    defect: str = ""


def _hung(number: int, frame: FrameType | None) -> None:
    raise TimeoutError(f"an input took more than {SECONDS} s")


def _fuzz(target: Target, inputs: int, first: int, folder: Path, tell: Any) -> None:
    """Draw inputs until there are enough or one shows a defect."""
    faulthandler.enable()
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    signal.signal(signal.SIGVTALRM, _hung)
    done, started = 0, time.process_time()

    def check(drawn: Any) -> None:
        nonlocal done
        done += 1
        # Of an input that takes the process down nothing else is left.
        (folder / "input").write_text(repr(drawn), encoding="utf-8", errors="backslashreplace")
        signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS)
        try:
            target.check(drawn, folder)
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)

    number = first
    while done < inputs:
        before = done
        again = settings(
            max_examples=min(ROUND, inputs - done),
            database=None,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            report_multiple_bugs=False,
        )
        try:
            seed(number)(again(given(target.inputs)(check)))()
        except BaseException as error:
            said = "".join(traceback.format_exception(error, limit=-LINES))
            tell.send((done, time.process_time() - started, _short(said)))
            return
        if done == before:
            break
        number += 1
        tell.send((done, time.process_time() - started, ""))


def _short(text: str) -> str:
    return text if len(text) <= 2 * LETTERS else f"{text[:LETTERS]}\n...\n{text[-LETTERS:]}"


def run(target: Target, inputs: int, first: int) -> Ran:
    """Fuzz one target in a process; one that dies is a defect too."""
    context = multiprocessing.get_context("fork")
    listen, tell = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        child = context.Process(target=_fuzz, args=(target, inputs, first, Path(folder), tell))
        child.start()
        tell.close()
        done, seconds, defect = 0, 0.0, ""
        while True:
            try:
                done, seconds, defect = listen.recv()
            except EOFError:
                break
        child.join()
        if child.exitcode:
            last = (Path(folder) / "input").read_text(encoding="utf-8")
            defect = f"ended with status {child.exitcode} at the input\n{last[:2000]}"
    return Ran(target.name, done, seconds, defect)


def page(found: list[Ran], given_arguments: list[str], first: int) -> str:
    """Return what was run as a page."""
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in PACKAGES)
    lines = [
        "# Fuzzing by hand",
        "",
        f"- {today}; {machine_text()}",
        f"- Python {platform.python_version()}, dfbench {dfbench.__version__}, {versions}",
        f"- `{' '.join(['python', 'tests/fuzz/run.py', *given_arguments])}` (first seed {first})",
        "- Each input gave an error message or a right answer; a defect is anything else: another "
        "exception, a warning, a process that died, more than "
        f"{SECONDS} s or {MEMORY // 2**30} GiB.",
        "",
        "| what is read | inputs | processor time, s | defects |",
        "| --- | --- | --- | --- |",
        *(f"| {r.name} | {r.inputs:,} | {r.seconds:,.0f} | {int(bool(r.defect))} |" for r in found),
        f"| all | {sum(r.inputs for r in found):,} | {sum(r.seconds for r in found):,.0f} | "
        f"{sum(bool(r.defect) for r in found)} |",
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Fuzz all targets, or some."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000, help="of all targets together")
    parser.add_argument("--only", action="append", help="a target, by a part of its name")
    parser.add_argument("--seed", type=int, default=0, help="of the first round")
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the table")
    options = parser.parse_args()
    chosen = [t for t in TARGETS if not options.only or any(o in t.name for o in options.only)]
    if not chosen:
        parser.error(f"--only: there are {', '.join(t.name for t in TARGETS)}")
    shares = sum(target.share for target in chosen)
    found = []
    for target in chosen:
        wanted = -int(-options.inputs * target.share // shares)
        one = run(target, wanted, options.seed)
        print(f"{one.name}: {one.inputs:,} inputs in {one.seconds:,.0f} s", flush=True)
        if one.defect:
            print(one.defect, file=sys.stderr, flush=True)
        found.append(one)
    text = page(found, sys.argv[1:], options.seed)
    options.out.mkdir(parents=True, exist_ok=True)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    path = options.out / f"{today}-{machine_name()}.md"
    path.write_text(text, encoding="utf-8")
    print(f"{text}\nwritten: {path}")
    bad = any(one.defect for one in found)
    return int(bad or sum(one.inputs for one in found) < options.inputs)


if __name__ == "__main__":
    sys.exit(main())
