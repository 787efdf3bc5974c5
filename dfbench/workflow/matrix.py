"""Many cells: every training, and every dataset that it is scored on.

`dfbench run` stops at the first error. `dfbench matrix` survives: a cell that fails is written down
with its reason, and the others go on.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import gc
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, Literal, Protocol, TypeVar

from dfbench.config import RunConfig, from_dict, named
from dfbench.data.audit import LEAKS, Overlap, find_overlap
from dfbench.data.clips import clip_table
from dfbench.data.prepared import Prepared
from dfbench.errors import UserError, one_line
from dfbench.processes import first_does, several
from dfbench.progress import SILENT, Reporter
from dfbench.results.card import Cell, Metric, ResultCard
from dfbench.results.store import write_card
from dfbench.train import checkpoint
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.leaks import SPLIT, LeakError, refuse_leak
from dfbench.workflow.mirrored import drop_epochs, fetch_checkpoints, keep_evaluation
from dfbench.workflow.oracle import all_epochs_kept, oracle_gap, score_epochs
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import read_record
from dfbench.workflow.seeds import together, train_together
from dfbench.workflow.training import TRAINED_ON, check_settings, train

FAULTS = "failures.log"  # tracebacks of what is no fault of the user's, in the folder of runs

End = Literal["done", "refused", "failed"]
Status = Literal["waiting", "checking", "training", "trained", "scoring", End]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """How cells are made."""

    protocol: str | None = None  # its name, for the cards
    resume: bool = False  # go on with interrupted trainings
    overwrite: bool = False
    allow_leak: bool = False
    oracle: bool = False  # add the oracle gap to the cards
    keep_epochs: bool = False  # with `oracle`: do not delete the epochs after scoring
    survive: bool = False  # go on after a cell that fails
    seeds_parallel: int = 1  # trainings that differ in their seed alone, made together, at most


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What became of a cell."""

    training: int  # position of its configuration
    spec: str  # it was scored on, `celebdf`, or of degraded crops `celebdf@jpeg:50`
    end: End
    reason: str = ""  # why it was refused or failed
    card: ResultCard | None = None
    path: Path | None = None  # of the card
    reused: bool = False  # it was there already


class Watch(Protocol):
    """Is told how cells come along."""

    def __call__(self, training: int, spec: str | None, status: Status, text: str = "") -> None:
        """Take the new status of a cell, or without a spec of a training."""


def cells_of(config: RunConfig) -> tuple[str, ...]:
    """Return the names of what a training is scored on: its own dataset first."""
    return tuple(_targets(config))


def _targets(config: RunConfig) -> dict[str, Cell]:
    """Return what a training is scored on, by name; degraded crops come after the clean ones."""
    model, seed = config.model.name, config.seed
    cells = [
        Cell(model=model, train=config.train, eval=spec, seed=seed, degrade=degrade)
        for spec in dict.fromkeys((config.train, *config.eval))
        for degrade in ("", *config.degrade)
    ]
    return {cell.scored: cell for cell in cells}


def make_cells(
    configs: Sequence[RunConfig],
    places: Places,
    plan: Plan,
    *,
    watch: Watch = lambda training, spec, status, text="": None,
    reporter: Reporter = SILENT,
) -> list[Outcome]:
    """Prepare, check, train and score all cells; what is there already is used again.

    All data are prepared, and all cells looked through for test clips that are trained on, before
    the first training.

    Args:
      configs: one a training.
      places: where data and runs lie.
      plan: how.
      watch: is told what happens.
      reporter: where progress is told.

    Returns:
      One a cell, in the order of `configs` and `cells_of`.

    Raises:
      UserError: without `plan.survive`, the first error in settings, data or a cell.
    """
    return _Matrix(configs, places, plan, watch, reporter).run()


class _Matrix:
    """The variables of one `make_cells`."""

    def __init__(
        self,
        configs: Sequence[RunConfig],
        places: Places,
        plan: Plan,
        watch: Watch,
        reporter: Reporter,
    ) -> None:
        self.configs, self.places, self.plan = configs, places, plan
        self.watch, self.reporter = watch, reporter
        self.outcomes: dict[tuple[int, str], Outcome] = {}
        self.start = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.datasets = _Once(lambda spec, data: prepare_spec(spec, data, places, reporter))
        self.clips = _Once(lambda *key: clip_table(self.datasets(*key[:2]), key[2]))
        self.overlaps = _Once(self._overlap)

    def run(self) -> list[Outcome]:
        for number in range(len(self.configs)):
            self._check(number)
        for group in together(self.configs, self.plan.seeds_parallel, self.reporter):
            open_ones = [number for number in group if self._open(number)]
            for number, folder in zip(open_ones, self._train(open_ones), strict=True):
                if folder is not None:
                    self._score_all(number, folder)
        order = [(n, spec) for n, c in enumerate(self.configs) for spec in cells_of(c)]
        return [self.outcomes[key] for key in order]

    def _open(self, number: int) -> list[str]:
        """Return the cells of a training that have no outcome yet."""
        return [s for s in cells_of(self.configs[number]) if (number, s) not in self.outcomes]

    def _check(self, number: int) -> None:
        """Prepare the data of a training and its cells, and look for leaks."""
        config = self.configs[number]
        self.watch(number, None, "checking")

        def check_training() -> None:
            check_settings(config, self.reporter)
            self.datasets(config.train, config.data)

        self._attempt(check_training, number, None)
        for spec in self._open(number):
            self._attempt(partial(self._check_cell, config, spec), number, spec)
        if self._open(number):
            self.watch(number, None, "waiting")

    def _check_cell(self, config: RunConfig, name: str) -> None:
        spec = _targets(config)[name].eval
        self.datasets(spec, config.data)
        if not self.plan.allow_leak:
            overlap: Overlap = self.overlaps(config.train, spec, config.data)
            refuse_leak(overlap, config.train, spec)

    def _overlap(self, train: str, spec: str, data: Any) -> Overlap:
        trained, evaluated = self.clips(train, data, TRAINED_ON), self.clips(spec, data, (SPLIT,))
        return find_overlap(trained, evaluated, kinds=LEAKS)

    def _train(self, group: Sequence[int]) -> list[Path | None]:
        """Train one or several together; None for each that failed."""
        for number in group:
            self.watch(number, None, "training")
        how: dict[str, Any] = {
            "resume": self.plan.resume,
            "overwrite": self.plan.overwrite,
            "keep_epochs": self.plan.oracle or self.plan.keep_epochs,
            "reporter": self.reporter,
        }
        configs = [self.configs[number] for number in group]
        if len(configs) == 1:
            alone = partial(train, configs[0], self.places, **how)
            return [self._attempt(alone, group[0], None)]
        made: Sequence[Path | Exception]
        try:
            made = train_together(configs, self.places, **how)
        except Exception as error:
            made = [error] * len(configs)
        return [
            self._attempt(partial(_folder_of, one), number, None)
            for number, one in zip(group, made, strict=True)
        ]

    def _score_all(self, number: int, folder: Path) -> None:
        """Score the cells that are open."""
        config, plan = self.configs[number], self.plan
        old = read_record(folder).created < self.start
        self.watch(number, None, "trained", "before" if old else "")
        for spec in self._open(number):
            self.watch(number, spec, "scoring")
            self._attempt(partial(self._score, number, folder, spec), number, spec)
        failed = [self.outcomes[number, s].end == "failed" for s in cells_of(config)]
        if plan.oracle and not plan.keep_epochs and not any(failed):
            checkpoint.drop_epochs(folder)
            first_does(partial(drop_epochs, self.places, folder, self.reporter))

    def _score(self, number: int, folder: Path, name: str) -> None:
        config, plan = self.configs[number], self.plan
        cell = _targets(config)[name]
        card, path = evaluate(
            folder,
            cell.eval,
            self.places,
            degrade=cell.degrade,
            scoring=config.scoring,
            protocol=plan.protocol,
            overwrite=plan.overwrite,
            allow_leak=plan.allow_leak,
            reporter=self.reporter,
        )
        if plan.oracle and card.oracle is None and not cell.degrade:
            card = self._with_oracle(card, path, folder, config)
        old = card.times.created < self.start
        outcome = Outcome(training=number, spec=name, end="done", card=card, path=path, reused=old)
        self._end(outcome)

    def _with_oracle(
        self, card: ResultCard, path: Path, folder: Path, config: RunConfig
    ) -> ResultCard:
        fetch_checkpoints(self.places, folder, self.reporter)
        record, spec = read_record(folder), card.cell.eval
        if not all_epochs_kept(folder, record):
            return card
        scored = from_dict(card.config, str(path))
        datasets: Sequence[Prepared] = self.datasets(spec, config.data)
        aucs = score_epochs(folder, scored, datasets, spec, self.reporter)
        card = dataclasses.replace(card, oracle=oracle_gap(aucs, record.summary.best_epoch))
        first_does(partial(write_card, card, path))
        keep_evaluation(self.places, path.parent, self.reporter)
        return card

    def _attempt(self, action: Callable[[], T], number: int, spec: str | None) -> T | None:
        """Act; what goes wrong ends the cell, or without a spec all open cells of the training."""
        try:
            return action()
        except Exception as error:
            # Where one process of several fails the others wait for it, so all have to end.
            if not self.plan.survive or several():
                raise
            end: End = "refused" if isinstance(error, LeakError) else "failed"
            reason = self._reason(error, number, spec)
        gc.collect()  # what it held may be what the next one needs
        if spec is None:
            self.watch(number, None, end, reason)
        for one in [spec] if spec else self._open(number):
            self._end(Outcome(training=number, spec=one, end=end, reason=reason))
        return None

    def _reason(self, error: Exception, number: int, spec: str | None) -> str:
        """Say an error in a line; of one that is not the user's, keep the traceback."""
        if isinstance(error, UserError):
            return one_line(str(error))
        config = self.configs[number]
        what = f"{named(config)}, trained on {config.train}, seed {config.seed}"
        what += f", scored on {spec}" if spec else ""
        with contextlib.suppress(OSError):  # the fault may be a full disk
            self.places.runs_dir.mkdir(parents=True, exist_ok=True)
            with (self.places.runs_dir / FAULTS).open("a", encoding="utf-8") as log:
                log.write(f"{one_line(what)}\n{''.join(traceback.format_exception(error))}\n")
        return one_line(f"{type(error).__name__}: {str(error).strip() or 'no message'}")[:300]

    def _end(self, outcome: Outcome) -> None:
        self.outcomes[outcome.training, outcome.spec] = outcome
        text = outcome.reason if outcome.card is None else number_text(outcome.card)
        self.watch(outcome.training, outcome.spec, outcome.end, text)


def _folder_of(made: Path | Exception) -> Path:
    if isinstance(made, Exception):
        raise made
    return made


def number_text(card: ResultCard) -> str:
    """Return the video AUC of a card with its interval, or why there is none."""
    metric = card.metrics.get("video_auc", Metric(value=None, reason="not computed"))
    if metric.value is None:
        return metric.reason
    interval = "" if metric.low is None else f" [{metric.low:.3f}, {metric.high:.3f}]"
    return f"{metric.value:.3f}{interval}"


class _Once(Generic[T]):
    """A function that is called once for the same arguments; what it raised, it raises again."""

    def __init__(self, function: Callable[..., T]) -> None:
        self.function = function
        self.found: dict[tuple[Any, ...], T | Exception] = {}

    def __call__(self, *key: Any) -> T:
        if key not in self.found:
            try:
                self.found[key] = self.function(*key)
            except Exception as error:
                self.found[key] = error
        result = self.found[key]
        if isinstance(result, Exception):
            raise result
        return result
