"""Planning at scale: `python benchmarks/speed/planning.py [--clips N ..]`.

Prepares DFDC-like downloads of growing size whose files are empty: the index, the plan, packing,
tables, audit and batches are those of `dfbench`, and only decoding is left out: a shard holds
made-up crops. Each size has a process of its own. Writes a table of seconds and memory to
benchmarks/speed/results; the exit status is 1 where memory or time grows faster than the clips.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from made_up import made_up, peak_mib
from page import RESULTS, Limit, limits_table, page, table, write

from dfbench.config import DataConfig
from dfbench.data.audit import find_overlap
from dfbench.data.clips import clip_table
from dfbench.data.pipeline import train_batches
from dfbench.data.prepare import prepare
from dfbench.data.spec import parse_spec
from dfbench.data.view import split_view

PARTS, SIDE = 50, 16  # folders of the download; px of a made-up crop
MOST_GROWTH = 2.0  # of seconds a clip, from the smallest size to the largest
MOST_KIB = 12.0  # of memory for each further clip, with its crops


@dataclasses.dataclass(kw_only=True)
class Figures:
    """What one size took: seconds, and memory in MiB."""

    clips: int
    crops: int = 0
    index_s: float = 0  # clips found, their files' times read, shards planned
    pack_s: float = 0  # shards to records and tables
    again_s: float = 0  # prepare, with nothing to do
    audit_s: float = 0  # train against val
    batch_s: float = 0  # until the first batch of a training
    start_mib: float = 0  # after the imports
    peak_mib: float = 0

    @property
    def planning_s(self) -> float:
        """Return the seconds that are to grow with the clips and no faster."""
        return self.index_s + self.pack_s + self.again_s + self.batch_s


# --- what is made up ------------------------------------------------------------------------------


def write_download(raw: Path, clips: int) -> None:
    """Write empty videos as DFDC has them: one real video in six, each with five fakes."""
    for part in range(PARTS):
        numbers = range(clips * part // PARTS, clips * (part + 1) // PARTS)
        folder = raw / f"dfdc_train_part_{part}"
        folder.mkdir(parents=True)
        facts = {}
        real = ""
        for number in numbers:
            name = _letters(number) + ".mp4"
            (folder / name).touch()
            fake = bool((number - numbers.start) % 6)
            real = real if fake else name
            facts[name] = {"label": "FAKE", "original": real} if fake else {"label": "REAL"}
        (folder / "metadata.json").write_text(json.dumps(facts))


def _letters(number: int) -> str:
    return "".join(chr(ord("a") + int(digit)) for digit in f"{number:010d}")


# --- measuring ------------------------------------------------------------------------------------


def measure(clips: int, crops: int, root: Path) -> Figures:
    """Let everything but the decoding happen to a download of `clips` videos."""
    write_download(root / "raw", clips)
    found = Figures(clips=clips, start_mib=peak_mib())
    times = dict[str, float]()
    (spec,) = parse_spec("dfdc")
    data = DataConfig(detector="none", frames=crops, crop_size=SIDE)

    def prepared(name: str) -> None:
        times[name] = time.perf_counter()

    prepared("start")
    extract = made_up(crops, prepared)
    made = prepare(spec, data, data_dir=root / "data", raw=root / "raw", extract=extract)
    prepared("packed")
    found.index_s = times["planned"] - times["start"]
    found.pack_s = times["packed"] - times["extracted"]
    with _seconds() as taken:
        made = prepare(spec, data, data_dir=root / "data", raw=root / "raw")
    found.again_s = taken()
    with _seconds() as taken:
        made.fingerprint()
        overlap = find_overlap(clip_table([made], ("train",)), clip_table([made], ("val",)))
    found.audit_s = taken()
    if overlap.leaked:
        raise ValueError("made-up clips of two splits are the same")
    with _seconds() as taken:
        view = split_view([made], "train")
        next(train_batches(view, batch_size=8, seed=0, balance="sampling"))
    found.batch_s = taken()
    found.crops = sum(c.frames for c in made.manifest.counts.values())
    found.peak_mib = peak_mib()
    return found


@contextmanager
def _seconds() -> Iterator[Callable[[], float]]:
    start = time.perf_counter()
    end: list[float] = []
    yield lambda: end[0]
    end.append(time.perf_counter() - start)


def in_a_process(clips: int, options: argparse.Namespace) -> Figures:
    """Measure one size in a process of its own, whose memory is nobody else's."""
    with tempfile.TemporaryDirectory(dir=options.work) as root:
        command = [sys.executable, __file__, "--worker", str(clips), root]
        command += ["--crops", str(options.crops)]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Figures(**json.loads(done.stdout.splitlines()[-1]))


# --- the page -------------------------------------------------------------------------------------


def grows(sizes: Sequence[Figures]) -> tuple[float, float]:
    """Return what the largest size costs more than the smallest.

    Returns:
      how many times the seconds a clip, and KiB of memory for each further clip.
    """
    first, last = sizes[0], sizes[-1]
    seconds = (last.planning_s / last.clips) / (first.planning_s / first.clips)
    return seconds, 1024 * (last.peak_mib - first.peak_mib) / (last.clips - first.clips)


def checks(sizes: Sequence[Figures]) -> list[Limit]:
    """Return what is to stay flat."""
    seconds, kib = grows(sizes)
    return [
        Limit("seconds a clip, largest size / smallest", seconds, MOST_GROWTH, "x"),
        Limit("memory for each further clip", kib, MOST_KIB, " KiB"),
    ]


def report(sizes: Sequence[Figures], given: Sequence[str]) -> str:
    """Return the page: what, on what, how, and the tables."""
    heads = ["clips", "crops", "index and plan, s", "pack, s", "prepare again, s", "audit, s"]
    heads += ["first batch, s", "ms a clip, without audit", "after imports, MiB", "peak, MiB"]
    rows = [
        [f"{one.clips:,}", f"{one.crops:,}"]
        + [f"{s:.2f}" for s in (one.index_s, one.pack_s, one.again_s, one.audit_s, one.batch_s)]
        + [f"{1000 * one.planning_s / one.clips:.2f}"]
        + [f"{one.start_mib:.0f}", f"{one.peak_mib:.0f}"]
        for one in sizes
    ]
    return page(
        "Planning at scale",
        "planning.py",
        given,
        ("dfbench", "tensorflow-datasets", "pyarrow", "grain"),
        ["empty videos as DFDC's training parts have them, made-up crops; all but the decoding"],
        [table(heads, rows), limits_table(checks(sizes))],
    )


def main(given: Sequence[str]) -> int:
    """Measure the sizes one after the other; write and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--crops", type=int, default=4, help="of a clip")
    parser.add_argument(
        "--work", type=Path, help="folder of what is made up; default: the system's"
    )
    parser.add_argument("--output", type=Path, default=RESULTS, help="folder of the table")
    parser.add_argument("--worker", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.worker:
        figures = measure(int(options.worker[0]), options.crops, Path(options.worker[1]))
        print(json.dumps(dataclasses.asdict(figures)))
        return 0
    if min(options.clips) < 600 or options.crops < 1 or len(set(options.clips)) < 2:
        parser.error(
            "two sizes of 600 clips at least, so that each part has all, of 1 crop or more"
        )
    sizes = [in_a_process(clips, options) for clips in sorted(set(options.clips))]
    write(report(sizes, given), "planning", options.output)
    return 0 if all(limit.met for limit in checks(sizes)) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
