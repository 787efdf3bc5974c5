"""Seeds trained together: `python benchmarks/speed/seeds.py [MODEL ..]`.

Seconds that a step takes a seed, of 1, 2, 4 and 8 seeds, against one seed alone: "alone", a step
after the other; "together", what `--seeds-parallel` does where it applies, one program by `vmap`;
and "unrolled", one program of a step after the other, which has no convolutions in groups. Each
seed's crops are on the device already: reading and decoding, which are each seed's own, are not
timed. All programs are compiled first and then take turns; what fails or takes too long to compile
is left out, and said. Writes a table to benchmarks/speed/results.

On an accelerator the exit status is 1 where the most seeds together are no cheaper a seed than one
alone. On a CPU, where `dfbench` does not train them together, it is 1 where nothing was timed.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax
import numpy as np
from page import RESULTS, Limit, limits_table, page, table, write
from scaling import Turn, batch_of, steps_in_turn

from dfbench.config import ModelConfig, RunConfig
from dfbench.errors import UserError
from dfbench.paths import compile_cache_dir, slug
from dfbench.train.parallel import (
    check_batch_size,
    enable_compile_cache,
    place,
    pmap_train_step,
    use_cpu_cores,
)
from dfbench.train.seeds import stack_states, together
from dfbench.train.state import create_state
from dfbench.train.step import DeviceStep, make_train_step

FORMS = ("alone", "together", "unrolled")
MOST = 1.0  # times what one seed alone takes, on an accelerator

Steps = Callable[[Any, Any], tuple[Any, Any]]  # states and batches of all seeds


@dataclass
class Measured:
    """What a model did: seconds of a step of all seeds, a number a round, by form and seeds."""

    model: str
    seconds: dict[tuple[str, int], list[float]] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)

    def cheaper(self, form: str, seeds: int) -> list[float]:
        """Return how many times what one seed alone takes a seed takes here, by round."""
        alone = self.seconds.get(("alone", 1), [])
        here = self.seconds.get((form, seeds), [])
        return [b / seeds / a for a, b in zip(alone, here, strict=False)]

    def row(self, seeds: int) -> list[str]:
        """Return a row of the table."""
        cells = [self.model, str(seeds)]
        for form in FORMS:
            times = self.seconds.get((form, seeds))
            ratios = self.cheaper(form, seeds)
            cells.append(f"{1000 * statistics.median(times) / seeds:,.2f}" if times else "-")
            cells.append(
                f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"
                if ratios
                else "-"
            )
        return cells


def one_after_the_other(device_step: DeviceStep) -> Steps:
    """Return the steps of several states, each a program of its own."""
    step = pmap_train_step(device_step)

    def steps(states: Any, batches: Any) -> tuple[Any, Any]:
        done = [step(state, batch) for state, batch in zip(states, batches, strict=True)]
        return [state for state, _ in done], [metrics for _, metrics in done]

    return steps


def unrolled(device_step: DeviceStep) -> Steps:
    """Return the steps of several states as one program of a step after the other."""

    def steps(states: Any, batches: Any) -> tuple[Any, Any]:
        done = [device_step(state, batch) for state, batch in zip(states, batches, strict=True)]
        return [state for state, _ in done], [metrics for _, metrics in done]

    return pmap_train_step(steps)


def turn_of(model: str, form: str, seeds: int, options: argparse.Namespace) -> Turn:
    """Compile a form, and return what takes a turn with it."""
    config = RunConfig(model=ModelConfig(name=model, dtype=options.dtype))
    state, networks = create_state(config)
    device_step = make_train_step(networks, config, (1.0, 1.0))
    steps: Steps = {
        "alone": one_after_the_other,
        "together": lambda step: pmap_train_step(together(step)),
        "unrolled": unrolled,
    }[form](device_step)
    states: Any = [jax.device_get(state)] * seeds
    if form == "together":
        states = stack_states(states)
    size, side = options.batch, networks.spec.input_size
    batches = tuple(
        place(batch_of(size, side, seed) | {"seed": np.full(size, seed, np.int32)})
        for seed in range(seeds)
    )
    return steps_in_turn(steps, states, batches)


def measure(model: str, options: argparse.Namespace) -> Measured:
    """Compile every form, then let them take turns."""
    found, turns = Measured(model), dict[tuple[str, int], Turn]()
    end = time.monotonic() + 60 * options.minutes
    for seeds in options.seeds:
        for form in options.forms:
            if time.monotonic() > end:
                found.left_out.append(f"{model}, {form}, {seeds} seeds: the time was up")
                continue
            start = time.monotonic()
            try:
                turns[form, seeds] = turn_of(model, form, seeds, options)
            except jax.errors.JaxRuntimeError as error:  # out of memory, mostly
                why = str(error).splitlines()[0][:200]
                found.left_out.append(f"{model}, {form}, {seeds} seeds: {why}")
                continue
            seconds = time.monotonic() - start
            print(f"{model}, {form}, {seeds} seeds: ready after {seconds:.0f} s", flush=True)
    for _ in range(options.rounds):
        for key, turn in turns.items():
            found.seconds.setdefault(key, []).append(turn())
    return found


def report(measured: Sequence[Measured], options: argparse.Namespace) -> tuple[str, bool]:
    """Return the page, and whether the limits are met."""
    heads = ["model", "seeds"]
    for form in FORMS:
        heads += [f"{form}, ms a step and seed", "of one alone"]
    device = jax.devices()[0]
    limits, most = [], max(options.seeds)
    for one in measured:
        ratios = one.cheaper("together", most)
        if device.platform != "cpu" and "together" in options.forms:
            found = statistics.median(ratios) if ratios else float("inf")
            what = f"{one.model}: a seed of {most} together, of one alone"
            limits.append(Limit(what, found, MOST))
    notes = [
        f"{options.dtype}, {options.batch} images a seed and step, on {jax.local_device_count()} "
        f"devices; median of {options.rounds} rounds in which all programs take turns",
        'a ratio is of neighbours in a round, to "alone" with 1 seed: median (lowest-highest); '
        "below 1 a seed is cheaper than alone",
        *(text for one in measured for text in one.left_out),
    ]
    tables = [table(heads, [one.row(seeds) for one in measured for seeds in options.seeds])]
    tables += [limits_table(limits)] if limits else []
    text = page(
        "Seeds trained together",
        "seeds.py",
        options.given,
        ("dfbench", "jax", "jaxlib", "flax"),
        notes,
        tables,
        device="" if device.platform == "cpu" else device.device_kind,
    )
    timed = all(one.seconds for one in measured)
    return text, timed and all(limit.met for limit in limits)


def _options(given: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("models", nargs="*", metavar="MODEL", default=["meso4"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 4, 8], metavar="N")
    parser.add_argument("--forms", nargs="+", choices=FORMS, default=list(FORMS))
    parser.add_argument("--batch", type=int, default=32, help="images of a seed")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--minutes", type=float, default=20, help="what is not compiled then is left out"
    )
    parser.add_argument("--output", type=Path, help="folder of the table", default=RESULTS)
    options = parser.parse_args(given)
    if min(options.rounds, options.batch, *options.seeds) < 1:
        parser.error("--rounds, --batch, --seeds: one at least")
    options.seeds = sorted({1, *options.seeds})
    options.forms = ["alone", *(form for form in FORMS[1:] if form in options.forms)]
    options.given = given
    return options


def main(given: Sequence[str]) -> int:
    """Measure the models one after the other; write and print the table."""
    options = _options(given)
    use_cpu_cores(options.batch)
    enable_compile_cache(compile_cache_dir())
    try:
        check_batch_size(options.batch)
        measured = [measure(model, options) for model in options.models]
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    text, met = report(measured, options)
    kind = "" if jax.default_backend() == "cpu" else slug(jax.devices()[0].device_kind).lower()
    write(text, "seeds", options.output, device=kind)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
