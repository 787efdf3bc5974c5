"""Which form of an operation is fastest here: `python benchmarks/speed/lowerings.py`.

Times the forms of `dfbench/models/lowering.py`, and candidates that it does not have (`forms.py`),
at the shapes at which the networks use them: the value alone, and with all gradients. Each
operation has a process of its own. A form whose numbers are not those of `lax` in float32 cannot
win. The page goes to benchmarks/speed/results; the exit status is 1 where the form that dfbench has
for this device is more than a tenth slower than another, over all uses in training.

`train_step.py --forms OPERATION=FORM ..` times whole networks with other forms than dfbench's own.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import sides
import turns
from forms import FORMS, Use, call_of, error, inputs_of, uses
from page import RESULTS, page, table, write

from dfbench.errors import UserError
from dfbench.models.registry import check_name

MODELS = ["xception", "midway_xception", "resnet50v1_5", "resnet34", "meso4"]
WHAT = ("all", "value")  # with all gradients; that of training comes first, time may be up
ROUNDS, TURN = 3, 0.1  # s
SLOWER = 1.1  # at most, than the fastest form
# Norm of the difference to lax in float32, over its norm; float32 products may be TF32's.
ERROR = {"float32": 5e-3, "bfloat16": 3e-2}


# --- in the process of an operation ---------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a process is to time."""

    operation: str
    models: list[str]
    dtype: str
    images: int


class Calls(dict[str, turns.Run]):
    """The calls that can be timed, made when they are wanted: `number of the use/form/what`."""

    def __init__(self, task: Task, found: Sequence[Use]) -> None:
        super().__init__()
        self.task, self.found = task, found

    def __missing__(self, mode: str) -> turns.Run:
        """Make a call, and forget those before, whose arrays fill the memory."""
        import jax

        self.clear()
        number, name, what = mode.split("/")
        one = self.found[int(number)]
        inputs = inputs_of(one, self.task.dtype, self.task.images)
        call = jax.jit(call_of(one, name, what))

        def run(times: int) -> None:
            last = None
            for _ in range(times):
                last = call(*inputs)
            jax.block_until_ready(last)

        self[mode] = run
        return run


def work(task: Task) -> turns.Side:
    """Return the side of one operation: a mode is a shape in a form."""
    counts = uses(task.models, task.operation)
    found = list(counts)

    def facts(mode: str) -> dict[str, Any]:
        if not mode:
            return {"uses": [[asdict(one), count] for one, count in counts.items()]}
        number, name, what = mode.split("/")
        return {"error": error(found[int(number)], name, task.dtype)} if what == "all" else {}

    turns.TURN = TURN
    return turns.Side(runs=Calls(task, found), facts=facts)


# --- the script -----------------------------------------------------------------------------------


@dataclass
class Timed:
    """An operation at one shape."""

    use: Use
    count: int
    seconds: dict[tuple[str, str], float] = field(default_factory=dict)  # by form, what
    failed: dict[tuple[str, str], str] = field(default_factory=dict)

    def fastest(self, what: str) -> str:
        """Return the fastest form; "" without one."""
        known = {name: s for (name, kind), s in self.seconds.items() if kind == what}
        return min(known, key=lambda name: known[name], default="")


def measure(task: Task, device: sides.Device, clock: turns.Clock, failed: list[str]) -> list[Timed]:
    """Time all forms of an operation at all shapes, in the time there is."""
    command = [sys.executable, __file__, "--worker", json.dumps(asdict(task))]
    worker = turns.Worker(command, device.environment())
    timed: list[Timed] = []
    try:
        first = worker.answer(clock.limit())
        for values, count in first.facts.get("uses", []):
            use = Use(
                values["operation"],
                tuple(values["image"]),
                tuple(values["kernel"]),
                tuple((name, value) for name, value in values["arguments"]),
            )
            timed.append(Timed(use, count))
        if first.failed:
            failed.append(f"{task.operation}: {first.failed}")
        for what, (number, one) in itertools.product(WHAT, enumerate(timed)):
            for name in FORMS[task.operation]:
                if clock.over():
                    return timed
                if worker.gone:  # what killed it costs its own figure alone
                    worker.close()
                    worker = turns.Worker(command, device.environment())
                    worker.answer(clock.limit())
                _time(worker, number, one, name, what, task, clock)
            print(f"{task.operation} {one.use.text}, {what}: {one.fastest(what)}", flush=True)
    finally:
        worker.close()
    return timed


def _time(
    worker: turns.Worker,
    number: int,
    one: Timed,
    name: str,
    what: str,
    task: Task,
    clock: turns.Clock,
) -> None:
    if one.failed.get((name, "all"), "").startswith("off by"):
        one.failed[name, what] = one.failed[name, "all"]
        return
    mode = f"{number}/{name}/{what}"
    worker.tell(f"warm {mode}")
    answer = worker.answer(clock.limit())
    found = []
    for _ in range(ROUNDS):
        if answer.failed:
            one.failed[name, what] = answer.failed
            return
        if answer.facts.get("error", 0.0) > ERROR[task.dtype]:
            one.failed[name, what] = f"off by {answer.facts['error']:.2g}"
            return
        worker.tell(f"turn {mode}")
        answer = worker.answer(clock.limit())
        found.append(answer.seconds)
    if not answer.failed:
        one.seconds[name, what] = statistics.median(found)


def total(timed: Sequence[Timed], name: str, what: str) -> float | None:
    """Return the seconds of all uses in a form; None where one is missing."""
    parts = [one.seconds.get((name, what)) for one in timed]
    if not parts or None in parts:
        return None
    return sum(one.count * (part or 0.0) for one, part in zip(timed, parts, strict=True))


def own_form(device: sides.Device) -> str:
    """Return the form that dfbench has for a device."""
    return "shifts" if device.platform == "cpu" else "lax"


def best(timed: Sequence[Timed], operation: str, what: str) -> str:
    """Return the form that is fastest over all uses; "" without one."""
    sums = {name: total(timed, name, what) for name in FORMS[operation]}
    known = {name: value for name, value in sums.items() if value is not None}
    return min(known, key=lambda name: known[name], default="")


def fine(timed: Sequence[Timed], operation: str, device: sides.Device) -> bool:
    """Return whether dfbench's form is about the fastest."""
    ours = total(timed, own_form(device), "all")
    winner = best(timed, operation, "all")
    theirs = total(timed, winner, "all") if winner else None
    return ours is not None and theirs is not None and ours <= SLOWER * theirs


def tables(found: dict[str, list[Timed]], device: sides.Device) -> list[list[str]]:
    """Return what wins over all uses, and at each shape."""
    heads = [
        "operation",
        "form",
        "value, ms",
        "with gradients, ms",
        "fastest at",
        "dfbench's",
        "wins",
    ]
    rows, shapes = [], []
    for operation, timed in found.items():
        for name in FORMS[operation]:
            sums = [total(timed, name, what) for what in WHAT]
            cells = ["-" if value is None else f"{1000 * value:.2f}" for value in sums]
            firsts = sum(one.fastest("all") == name for one in timed)
            own = "yes" if name == own_form(device) else ""
            wins = "**yes**" if best(timed, operation, "all") == name else ""
            rows.append([operation, name, *cells, f"{firsts} of {len(timed)}", own, wins])
        for one in timed:
            for name in FORMS[operation]:
                cells = [_cell(one, name, what) for what in WHAT]
                shapes.append([operation, one.use.text, str(one.count), name, *cells])
    detail = ["operation", "an image and kernel", "uses", "form", "with gradients, ms", "value, ms"]
    return [table(heads, rows), table(detail, shapes)]


def _cell(one: Timed, name: str, what: str) -> str:
    if (name, what) in one.failed:
        return one.failed[name, what]
    seconds = one.seconds.get((name, what))
    return "-" if seconds is None else f"{1000 * seconds:.3f}"


def _options(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("operations", nargs="*", metavar="OPERATION", default=list(FORMS))
    parser.add_argument("--models", nargs="+", default=MODELS, help="whose shapes")
    parser.add_argument("--dtype", choices=tuple(ERROR), default="float32")
    parser.add_argument(
        "--device", choices=tuple(sides.PLATFORMS), help="default: JAX's own choice"
    )
    parser.add_argument("--batch", type=int, default=8, help="images")
    parser.add_argument("--warm-up", type=float, default=120, help="seconds to compile a form in")
    parser.add_argument("--minutes", type=float, default=1e6, help="what is not begun then is not")
    parser.add_argument("--output", type=Path, help="folder of the page", default=RESULTS)
    parser.add_argument("--label", default="", help="in the name of the page")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    unknown = [name for name in options.operations if name not in FORMS]
    if unknown or options.batch < 1:
        parser.error(f"operations: {', '.join(FORMS)}; --batch: one at least")
    try:
        for name in options.models:
            check_name(name)
    except UserError as wrong:
        parser.error(str(wrong))
    return options


def main(given: list[str]) -> int:
    """Time the operations one after the other; write and print the page."""
    start = time.monotonic()
    options = _options(given)
    if options.worker:
        sides.work(options.worker, lambda text: work(Task(**json.loads(text))))
        return 0
    turns.end_by_signal()
    clock = turns.Clock(options.warm_up, start + 60 * options.minutes)
    device = sides.find_device(__file__, options.device, clock.limit())
    found, failed = dict[str, list[Timed]](), list[str]()
    try:
        for operation in options.operations:
            task = Task(
                operation=operation,
                models=options.models,
                dtype=options.dtype,
                images=options.batch,
            )
            timed = measure(task, device, clock, failed)
            if timed:  # else none of the models has it
                found[operation] = timed
    finally:
        notes = [
            f"{options.dtype}, {options.batch} images; the uses of {', '.join(options.models)}, as "
            f"often as these call them; median of {ROUNDS}",
            *failed,
        ]
        packages = ("dfbench", "jax", "jaxlib")
        text = page(
            "Forms of the operations",
            "lowerings.py",
            given,
            packages,
            notes,
            tables(found, device),
            device=device.kind,
        )
        kind = "-".join(filter(None, ["lowerings", options.dtype, options.label]))
        write(text, kind, options.output, device=sides.slug(device.kind))
    well = all(fine(timed, operation, device) for operation, timed in found.items())
    return 0 if well and found and not failed else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
