"""Trainings that differ in their seed alone, made together.

Each has the folder, and to rounding the result, that it would have alone; which of them are made
together, or that they are, is no part of a run's name. So what was begun together can be gone on
with alone, and the other way round.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from dfbench.classical.catalog import is_classical
from dfbench.config import RunConfig, training_hash
from dfbench.errors import UserError
from dfbench.processes import several
from dfbench.progress import Progress, Reporter
from dfbench.train.seeds import fit_together, why_alone
from dfbench.train.task import FitResult
from dfbench.workflow.places import Places
from dfbench.workflow.training import Begun, begin

Made = Path | Exception


def together(configs: Sequence[RunConfig], most: int, reporter: Reporter) -> list[list[int]]:
    """Return the positions of the trainings that are made together, `most` at once or fewer.

    Those of a large network, or of a classical model, stay alone, which is said.

    Raises:
      UserError: this process is one of several.
    """
    if most > 1 and several():
        raise UserError(
            "--seeds-parallel is for one process: leave it out, and the processes share each "
            "training; or --processes 1"
        )
    alike: dict[str, list[int]] = {}
    groups: list[list[int]] = []
    for number, config in enumerate(configs):
        others = alike.setdefault(training_hash(dataclasses.replace(config, seed=0)), [])
        if config.seed in {configs[other].seed for other in others}:
            groups.append([number])  # the same training, for other evaluations
        else:
            others.append(number)
    for numbers in alike.values():
        size = most if len(numbers) > 1 and most > 1 else 1
        if size > 1 and (why := _why_alone(configs[numbers[0]])):
            reporter.say(f"--seeds-parallel: {why}, its seeds are trained one after the other")
            size = 1
        groups += [numbers[i : i + size] for i in range(0, len(numbers), size)]
    if most > 1 and all(len(numbers) == 1 for numbers in alike.values()):
        reporter.say(
            "--seeds-parallel changes nothing: no two trainings differ in their seed alone"
        )
    return sorted(groups)


def _why_alone(config: RunConfig) -> str:
    if is_classical(config.model.name):
        return f"{config.model.name} takes no steps on a device"
    return why_alone(config.model)


def train_together(
    configs: Sequence[RunConfig],
    places: Places,
    *,
    resume: bool,
    overwrite: bool,
    keep_epochs: bool,
    reporter: Reporter,
) -> list[Made]:
    """Train as `workflow.training.train` does each; return the folders, or what went wrong.

    Args:
      configs: those of a group of `together`.
      places: where data and runs lie.
      resume: go on with those that were interrupted.
      overwrite: train again from the start.
      keep_epochs: keep the parameters of every epoch.
      reporter: where progress is told.
    """
    made: dict[int, Made] = {}
    begun: dict[int, Begun] = {}
    with ExitStack() as held:
        # In the same order in all jobs, or two of them would wait for each other.
        for config in sorted(configs, key=lambda config: config.seed):
            try:
                one = begin(
                    config, places, held, resume=resume, overwrite=overwrite, reporter=reporter
                )
            except Exception as error:
                made[config.seed] = error
                continue
            if isinstance(one, Path):
                made[config.seed] = one
            else:
                begun[config.seed] = one
        if begun:
            made |= _fit(begun, keep_epochs, reporter)
    return [made[config.seed] for config in configs]


def _fit(begun: Mapping[int, Begun], keep_epochs: bool, reporter: Reporter) -> dict[int, Made]:
    """Train and finish those that are begun, by seed."""
    seeds = list(begun)
    title = begun[seeds[0]].title
    reporter.say(f"seeds {', '.join(map(str, seeds))} are trained together")

    def failed(number: int, error: UserError) -> None:
        reporter.say(f"seed {seeds[number]}: {error}; the other seeds go on")

    with reporter.bar(f"{title}, {len(seeds)} seeds", "step") as progress:
        tasks = [
            dataclasses.replace(
                one.task(keep_epochs=keep_epochs, reporter=reporter),
                progress=_named(progress, seed),
            )
            for seed, one in begun.items()
        ]
        results = fit_together(tasks, failed=failed)
    return {
        seed: _finished(one, result, tuple(n for n in seeds if n != seed), reporter)
        for (seed, one), result in zip(begun.items(), results, strict=True)
    }


def _finished(
    one: Begun, result: FitResult | UserError, others: tuple[int, ...], reporter: Reporter
) -> Made:
    if isinstance(result, UserError):
        return result
    try:
        return one.finish(result, reporter, others)
    except Exception as error:  # the other seeds are finished all the same
        return error


def _named(progress: Progress, seed: int) -> Progress:
    """Return a seed's own progress, on the bar that all share."""

    def report(done: int, total: int, note: str = "") -> None:
        progress(done, total, f"seed {seed}: {note}")

    return report
