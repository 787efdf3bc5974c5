"""What data sets and a whole matrix cost: `python benchmarks/scale.py`.

Computes hours from the figures that were measured (benchmarks/speed/results) and from the sizes of
the data sets and protocols. No GPU was measured here, so hours of GPUs stay formulas, until you say
what yours does: `--images-per-s N` (of `python benchmarks/speed/train_step.py MODEL` there), and
`--scored-per-s S`, `--dollars-per-hour D`. docs/scale.md shows the output.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from dfbench.config import RunConfig
from dfbench.data.spec import split_union
from dfbench.protocols import find_protocol, read_protocol

RESULTS = Path(__file__).resolve().parent / "speed" / "results"
PAGE = Path(__file__).resolve().parents[1] / "docs" / "scale.md"
BEGIN, END = "<!-- python benchmarks/scale.py --write -->", "<!-- end -->"
CORES = (2, 16, 256)
FRAMES = 32  # of a clip, by default


@dataclass(frozen=True)
class Clips:
    """How many clips of a data set there are, by what they are for."""

    train: int
    val: int
    test: int

    @property
    def all(self) -> int:
        """Return the clips that are prepared."""
        return self.train + self.val + self.test


def _carved(rest: int, test: int, val: float = 0.15) -> Clips:
    """Return the sizes where a share of the training clips is carved off, by a hash of names."""
    return Clips(rest - round(val * rest), round(val * rest), test)


# Official numbers: datasets/*/README.md. Where val is a hash of names it is about that share.
PAIRS = (720, 140, 140)  # originals of FF++ by split, and as many fakes of each method
SIZES = {
    "uadfv": Clips(56, 14, 28),
    "celebdf": _carved(590 + 300 + 5_639 - 518, 518),
    "ffpp/c23": Clips(*(6 * n for n in PAIRS)),
    "dfdc": _carved(19_154 + 100_000, 5_000),
    "dfdc_preview": _carved(1_131 + 4_119 - 777, 777),
    # Test: the pairs with one of 6 of the 32 people; 6 of the 16 pairs are the most it can be.
    "dftimit/hq": _carved(640 - 240, 240, 0.2),
    "dfd/c23": Clips(0, 0, 363 + 3_068),
}


def clips_of(spec: str) -> Clips:
    """Return the sizes of a spec, of a union together; of FF++ with the methods that it names."""
    parts = []
    for one in split_union(spec):
        name, _, methods = one.partition(":")
        if name == "ffpp/c23" and methods:
            parts.append(Clips(*(n * (1 + len(methods.split("+"))) for n in PAIRS)))
        else:
            parts.append(SIZES[name])
    return Clips(*(sum(getattr(p, k) for p in parts) for k in ("train", "val", "test")))


# --- what was measured ----------------------------------------------------------------------------


@dataclass(frozen=True)
class Measured:
    """A row of a table of benchmarks/speed/results, by the names of its columns."""

    page: str
    row: dict[str, str]

    def number(self, column: str) -> float:
        """Return a cell as a number."""
        return float(self.row[column].replace(",", ""))


def newest_rows(glob: str) -> list[Measured]:
    """Return the rows of all tables of the newest page whose name matches; none: no page."""
    pages = sorted(RESULTS.glob(glob))
    found: list[Measured] = []
    heads: list[str] = []
    for line in pages[-1].read_text(encoding="utf-8").splitlines() if pages else []:
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if not line.startswith("|"):
            heads = []
        elif not heads:
            heads = cells
        elif not re.fullmatch(r"[-| :]+", line):
            found.append(Measured(pages[-1].name, dict(zip(heads, cells, strict=True))))
    return found


def extraction() -> Measured:
    """Return what extraction takes: seconds a clip on one core."""
    rows = [r for r in newest_rows("*-extract-*.md") if r.row.get("what") == "dfbench"]
    return rows[0]


def steps(mode: str) -> dict[str, Measured]:
    """Return images a second by model, of "training step" or "inference"."""
    pages = newest_rows("????-??-??-[0-9]*-cores-*.md")
    return {r.row["model"]: r for r in pages if r.row.get("what") == mode}


# --- what it comes to -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Work:
    """Images of some trainings of a protocol: at most, since patience ends many early."""

    what: str
    trainings: int
    cells: int
    trained: int
    scored: int


def work_of(protocol: str, by: Callable[[RunConfig], str]) -> list[Work]:
    """Add up the images of a protocol, by model or whatever `by` says of a training."""
    found: dict[str, Work] = {}
    for run in read_protocol(find_protocol(protocol)).runs:
        train, frames = clips_of(run.train), run.data.frames or FRAMES
        cells = list(dict.fromkeys((run.train, *run.eval)))
        scored = train.val * (run.training.epochs + 1) + sum(clips_of(c).test for c in cells)
        old = found.get(by(run), Work(by(run), 0, 0, 0, 0))
        found[by(run)] = Work(
            by(run),
            old.trainings + 1,
            old.cells + len(cells),
            old.trained + train.train * frames * run.training.epochs,
            old.scored + scored * frames,
        )
    return list(found.values())


def prepared_table() -> list[str]:
    """Return hours and gigabytes of preparing the large data sets, and all of the full matrix."""
    seconds = extraction().number("s a clip")
    sizes = newest_rows("*-crop-bytes.md")
    matrix = sum(size.all for size in SIZES.values())
    rows = [
        ("`ffpp/c23`, originals and five methods", SIZES["ffpp/c23"].all, FRAMES),
        ("`dfdc`, all parts and the test set", SIZES["dfdc"].all, FRAMES),
        ("all of `full_matrix`", matrix, 16),
    ]
    heads = ["data", "clips", "core-hours", *(f"hours on {n} cores" for n in CORES)]
    lines = []
    for name, clips, frames in rows:
        hours, crops = clips * seconds / 3600, clips * frames
        size = f"{crops * sizes[0].number('KB a crop, mean') / 1e6:,.1f}" if sizes else "-"
        cells = [name, f"{clips:,}", f"{hours:,.1f}", *(f"{hours / n:.2g}" for n in CORES)]
        lines.append([*cells, f"{crops:,}", size])
    return table([*heads, "crops, at most", "GB of crops"], lines)


def gpu_hours(trained: float, scored: float, options: argparse.Namespace) -> float | str:
    """Return hours of a GPU, or the formula where its images a second are not known."""
    if not options.images_per_s:
        return f"{trained / 3600:,.0f} / N + {scored / 3600:,.0f} / S"
    rate = options.scored_per_s or options.images_per_s
    return float((trained / options.images_per_s + scored / rate) / 3600)


def matrix_table(options: argparse.Namespace) -> list[str]:
    """Return days, hours and dollars of the full matrix, by model."""
    trained, scored = steps("training step"), steps("inference")
    rows = []
    for work in work_of("full_matrix", lambda run: run.model.name):
        days, column = "not measured", "dfbench, img/s"
        if work.what in trained:
            seconds = work.trained / trained[work.what].number(column)
            seconds += work.scored / scored[work.what].number(column)
            days = f"{seconds / 86400:,.0f}"
        hours = gpu_hours(work.trained / work.cells, work.scored / work.cells, options)
        row = [f"`{work.what}`", str(work.trainings), str(work.cells), days]
        row.append(hours if isinstance(hours, str) else f"{hours:,.2f}")
        if not isinstance(hours, str):
            row.append(f"{hours * work.cells:,.0f}")
            if dollars := options.dollars_per_hour:
                row.append(f"{hours * work.cells * dollars:,.0f}")
        rows.append(row)
    heads = [
        "model",
        "trainings",
        "cells",
        "days on the machine measured",
        "GPU-hours a cell, mean",
    ]
    heads += ["GPU-hours, all", "dollars, all"]
    return table(heads[: len(rows[0])], rows)


def training_table(options: argparse.Namespace) -> list[str]:
    """Return what one training with its cells takes, by what it is trained on."""
    rows = []
    for work in work_of("full_matrix", lambda run: run.train):
        trained, scored = work.trained / work.trainings, work.scored / work.trainings
        hours = gpu_hours(trained, scored, options)
        text = hours if isinstance(hours, str) else f"{hours:,.2f}"
        cells = f"{work.cells / work.trainings:.0f}"
        rows.append([f"`{work.what}`", cells, f"{trained:,.0f}", f"{scored:,.0f}", text])
    heads = ["trained on", "cells", "images trained", "images scored", "GPU-hours together"]
    return table(heads, rows)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return a table of markdown."""
    return [f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows)]


def planning_lines() -> list[str]:
    """Return what planning of the most clips took, if that was measured."""
    rows = [r for r in newest_rows("*-planning-*.md") if "clips" in r.row]
    if not rows:
        return []
    last = rows[-1]
    return [
        f"Planning and packing of {last.row['clips']} clips, without the decoding: "
        f"{last.row['index and plan, s']} s to find and plan them, {last.row['pack, s']} s to pack "
        f"{last.row['crops']} crops, {last.row['audit, s']} s to audit train against val, "
        f"{last.row['peak, MiB']} MiB of memory ({_link(last)}).",
        "",
    ]


def _link(measured: Measured) -> str:
    return f"[{measured.page}](../benchmarks/speed/results/{measured.page})"


def page(options: argparse.Namespace) -> str:
    """Return the whole text."""
    found, (step, *_) = extraction(), steps("training step").values()
    seconds = found.number("s a clip")
    sizes = newest_rows("*-crop-bytes.md")
    crops = (
        f"{sizes[0].row['crops a GB']} crops a GB ({_link(sizes[0])})"
        if sizes
        else "crops a GB: not measured"
    )
    formula = (
        "N: images trained a second, S: images scored a second, on one GPU, as "
        "`python benchmarks/speed/train_step.py MODEL` measures them there; at D dollars an hour a "
        "cell costs D times its GPU-hours, and c dollars a core-hour are c times the core-hours."
    )
    lines = [
        f"{seconds} s a clip on one core, that is {1 / seconds:.2f} clips/s/core ({_link(found)}); "
        f"{crops}.",
        "",
        *prepared_table(),
        "",
        *planning_lines(),
        f"The protocol `full_matrix`, float32; the machine measured is that of {_link(step)}:",
        "",
        *matrix_table(options),
        "",
        "One training with its cells:",
        "",
        *training_table(options),
        "",
        *([] if options.images_per_s else [formula]),
    ]
    return "\n".join(lines).strip() + "\n"


def main(given: Sequence[str]) -> int:
    """Print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images-per-s", type=_positive, metavar="N", help="trained on your GPU")
    parser.add_argument(
        "--scored-per-s", type=_positive, metavar="S", help="scored on it; default: as trained"
    )
    parser.add_argument("--dollars-per-hour", type=_positive, metavar="D", help="of that GPU")
    parser.add_argument("--write", action="store_true", help="put it into docs/scale.md")
    options = parser.parse_args(given)
    if options.write and options.images_per_s:
        parser.error("--write: figures of one GPU do not go into the page")
    if not options.images_per_s and (options.scored_per_s or options.dollars_per_hour):
        parser.error("--scored-per-s and --dollars-per-hour go with --images-per-s")
    text = page(options)
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        PAGE.write_text(f"{before}{BEGIN}\n{text}{END}{rest.partition(END)[2]}", encoding="utf-8")
        print(f"written: {PAGE}")
    else:
        print(text, end="")
    return 0


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"'{text}' is not above 0")
    return value


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
