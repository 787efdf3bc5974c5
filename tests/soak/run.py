"""Random kills for an hour: `python tests/soak/run.py [--minutes 60]`, `make soak`.

A matrix is made undisturbed. Then, until the time is up, it is made again in an empty folder, data
and all, by a command that is killed every now and then and started again until it is done. What
came out is compared with the first, bit by bit: cards (but for times), scores, parameters, the
optimizer's state. A table of what happened is written to `tests/soak/results`; the exit status is 1
where something differed, or a command failed or did not end as it has to.
"""

from __future__ import annotations

import argparse
import collections
import datetime
import platform
import random
import shlex
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parents[1])]

from support.command import dfbench  # noqa: E402
from support.kills import CACHE, Disturbed, differences, disturb  # noqa: E402

import dfbench as package  # noqa: E402
from dfbench.results.environment import machine_name, machine_text  # noqa: E402

COMMAND = "matrix --protocol tiny"
PLACES = ("--data-dir", "data", "--runs-dir", "runs")


def soak(options: argparse.Namespace, home: Path) -> tuple[float, list[Disturbed], list[str]]:
    """Return the seconds of the undisturbed command, the others, and how what they made differs."""
    command, rng = (*shlex.split(options.command), *PLACES), random.Random(options.seed)
    whole, start = home / "whole", time.monotonic()
    whole.mkdir()
    done = dfbench(*command, cwd=whole, cache=whole / CACHE, timeout=3600)
    if done.returncode:
        sys.exit(f"undisturbed it fails: {done.stderr}")
    alone = time.monotonic() - start
    print(f"undisturbed: {alone:.0f} s", flush=True)
    end, rounds, differing = time.monotonic() + 60 * options.minutes, [], []
    while time.monotonic() < end:
        again = home / f"{len(rounds)}"
        again.mkdir()
        (again / CACHE).symlink_to(whole / CACHE)
        made = disturb(command, again, rng, span=options.span, most=options.most)
        found = differences(again, whole) if not made.faults else []
        rounds.append(made)
        differing += found
        print(
            f"{len(made.kills)} kills in {made.seconds:.0f} s; {len(found)} differences", flush=True
        )
        for line in (*found, *made.faults):
            print(f"  {line}", file=sys.stderr, flush=True)
    return alone, rounds, differing


def page(
    alone: float, rounds: list[Disturbed], differing: list[str], options: argparse.Namespace
) -> str:
    """Return what happened."""
    kills = [kill for one in rounds for kill in one.kills]
    wrong = [kill for kill in kills if not kill.right]
    polite = [kill.seconds for kill in kills if kill.by != "SIGKILL"]
    stages = collections.Counter((kill.stage, kill.by) for kill in kills)
    rows = [
        ("matrices made", len(rounds)),
        ("kills", len(kills)),
        ("starts", len(kills) + len(rounds)),
        ("commands that failed", sum(len(one.faults) for one in rounds)),
        ("kills that did not end as they have to", len(wrong)),
        ("mismatches", len(differing)),
    ]
    lines = [
        "# Random kills",
        "",
        f"- {datetime.datetime.now(tz=datetime.UTC).date().isoformat()}; {machine_text()}",
        f"- Python {platform.python_version()}, dfbench {package.__version__}",
        f"- `{shlex.join(['python', 'tests/soak/run.py', *sys.argv[1:]])}`: `dfbench "
        f"{options.command}`, {alone:.0f} s undisturbed, "
        f"{sum(one.seconds for one in rounds) / 60:.0f} minutes with kills",
        "- Mismatches are of cards (but for times), scores, parameters and optimizer states, bit "
        "by bit, with what was made undisturbed.",
        f"- Asked by SIGTERM or SIGINT, it ended within {max(polite, default=0):.1f} s.",
        "",
        "| | number |",
        "| --- | --- |",
        *(f"| {what} | {number} |" for what, number in rows),
        "",
        "| what was to be done next | signal | kills |",
        "| --- | --- | --- |",
        *(f"| {stage} | {by} | {number} |" for (stage, by), number in sorted(stages.items())),
    ]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60, help="no matrix is begun after them")
    parser.add_argument("--command", default=COMMAND, help=f"of dfbench (default: {COMMAND})")
    parser.add_argument("--span", type=float, default=60, help="most seconds up to a kill")
    parser.add_argument("--most", type=int, default=20, help="kills of a matrix")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "results", help="folder of the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        alone, rounds, differing = soak(options, Path(home))
    text = page(alone, rounds, differing, options)
    options.out.mkdir(parents=True, exist_ok=True)
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    path = options.out / f"{today}-{machine_name()}.md"
    path.write_text(text, encoding="utf-8")
    print(f"{text}\nwritten: {path}")
    good = not differing and all(
        not one.faults and all(kill.right for kill in one.kills) for one in rounds
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
