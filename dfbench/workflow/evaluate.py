"""A finished training scored on the test split of a dataset: scores, metrics, result card."""

from __future__ import annotations

import contextlib
import dataclasses
import datetime
import functools
import shutil
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from dfbench.classical.catalog import is_classical
from dfbench.config import RunConfig, ScoringConfig, config_hash, read_toml, to_dict
from dfbench.data.pipeline import eval_batches
from dfbench.data.prepared import Prepared
from dfbench.data.view import split_view
from dfbench.degradations import Degradation, parse_degradations
from dfbench.errors import UserError
from dfbench.eval.measure import METRIC_NAMES, measure
from dfbench.eval.predict import predict
from dfbench.eval.scores import UNDETECTED, ScoreTable, read_scores, write_scores
from dfbench.faces.clip import Split
from dfbench.files import whole
from dfbench.processes import decide, first_does
from dfbench.progress import SILENT, Reporter
from dfbench.results.card import (
    Audit,
    Cell,
    ClassName,
    Coverage,
    Datasets,
    ResultCard,
    Times,
    card_name,
    eval_folder,
    role_of,
)
from dfbench.results.coverage import coverage_warnings
from dfbench.results.environment import environment
from dfbench.results.store import SCORES, VAL_SCORES, hash_file, read_card, write_card
from dfbench.train import checkpoint
from dfbench.train.state import Networks, TrainState, abstract_state, build_networks
from dfbench.workflow.alone import alone
from dfbench.workflow.classical import score_classical
from dfbench.workflow.leaks import SPLIT, audit_run
from dfbench.workflow.mirrored import (
    fetch_best,
    fetch_evaluation,
    fetch_run,
    keep_evaluation,
    keep_run,
)
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import TrainingRecord, read_record
from dfbench.workflow.scored import scored_table
from dfbench.workflow.training import CONFIG

VAL: Split = "val"


def evaluate(
    run_dir: Path,
    spec: str,
    places: Places,
    *,
    degrade: str = "",
    scoring: ScoringConfig | None = None,
    protocol: str | None = None,
    overwrite: bool = False,
    allow_leak: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[ResultCard, Path]:
    """Score a run's best checkpoint on the test split of `spec`; return the card and its path.

    With `degrade`, such as "jpeg:50", its crops are degraded before they are scored; those of the
    training dataset's val split, which choose threshold and temperature, never are.

    Writes `scores.parquet`, `val_scores.parquet` (the training dataset's val split, on which
    threshold and temperature are chosen; scored once a run) and the card below `run_dir/evals/`. A
    card of the same checkpoint, crops and scoring is used again.

    Raises:
      UserError: no finished training in `run_dir`, unusable data, or, without `allow_leak`, test
        clips that were trained on.
    """
    fetch_run(places, run_dir, reporter)
    record = read_record(run_dir)
    config = read_toml(run_dir / CONFIG)
    degradation = _degradation(degrade)
    degrade = degradation.text if degradation else ""
    config = dataclasses.replace(
        config,
        eval=(spec,),
        degrade=(degrade,) if degrade else (),
        scoring=scoring or config.scoring,
    )
    datasets = prepare_spec(spec, config.data, places, reporter)
    cell = Cell(
        model=config.model.name, train=config.train, eval=spec, seed=config.seed, degrade=degrade
    )
    folder = run_dir / "evals" / eval_folder(cell)
    path = folder / card_name(cell)
    fetch_evaluation(places, folder, reporter)
    protocol = protocol or _protocol_of(path, config)
    score = _Scorer(run_dir, config, places, reporter)
    val = _val_scores(run_dir, config, places, score, reporter)

    def known() -> bool:
        if overwrite or not path.is_file():
            return False
        card = read_card(path)
        allowed = card.audit is not None and (allow_leak or not card.audit.allowed)
        return allowed and _still_true(card, folder, val, record, config, datasets, protocol)

    def make() -> None:
        audit = audit_run(run_dir, config.train, spec, datasets, allow_leak=allow_leak)
        scored = score(datasets, SPLIT, cell.scored, degradation)

        def write() -> None:
            path.unlink(missing_ok=True)  # nobody may find it beside the scores of another
            write_scores(scored.table, folder / SCORES)
            _place(val, folder / VAL_SCORES)
            card = _card(
                cell, folder, config, record, datasets, protocol, audit, scored, val=bool(val)
            )
            write_card(card, path)

        first_does(write)

    there = decide(known)
    if not there:
        with alone(folder, f"{cell.scored} ({run_dir}) is being scored", reporter):
            if not (there := decide(known)):  # or another job has scored it meanwhile
                make()
    if there:
        reporter.say(f"reusing the scores of {cell.scored} ({folder})")
    keep_evaluation(places, folder, reporter)  # or what was not sent to its end
    return read_card(path), path


def _card(
    cell: Cell,
    folder: Path,
    config: RunConfig,
    record: TrainingRecord,
    datasets: Sequence[Prepared],
    protocol: str | None,
    audit: Audit,
    scored: _Scored,
    *,
    val: bool,
) -> ResultCard:
    """Make the card of the scores in `folder`, which may have scores of source val (`val`)."""
    measured = measure(
        read_scores(folder / SCORES),
        read_scores(folder / VAL_SCORES) if val else None,
        config.scoring,
        seed=config.seed,
    )
    return ResultCard(
        cell=cell,
        role=role_of(cell),
        protocol=protocol,
        warnings=(
            *coverage_warnings(record.datasets, ("train", "val")),
            *coverage_warnings([d.fingerprint() for d in datasets], (SPLIT,)),
            *scored.notes,
        ),
        config=to_dict(config),
        config_hash=config_hash(config),
        training_hash=record.training_hash,
        datasets=Datasets(train=record.datasets, eval=tuple(d.fingerprint() for d in datasets)),
        metrics=measured.metrics,
        breakdown=measured.breakdown,
        confusion=measured.confusion,
        calibration=measured.calibration,
        coverage=_coverage(datasets),
        training=record.summary,
        audit=audit,
        environment=environment(devices=True),
        times=Times(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            scoring_seconds=scored.seconds,
            images_per_s=int(np.sum(scored.table.frame != UNDETECTED)) / scored.seconds,
        ),
        files={"scores": hash_file(folder / SCORES), "checkpoint": record.checkpoint}
        | ({"val_scores": hash_file(folder / VAL_SCORES)} if val else {})
        | ({"init": record.init} if record.init else {}),
    )


def _protocol_of(path: Path, config: RunConfig) -> str | None:
    """Return the protocol that the card of this cell names, if it is of the same settings.

    Who scores a protocol's cell again by itself (`dfbench eval`) does not take it out of it.
    """
    with contextlib.suppress(UserError):  # none there, or damaged
        card = read_card(path)
        return card.protocol if card.config_hash == config_hash(config) else None
    return None


def _degradation(text: str) -> Degradation | None:
    found = parse_degradations([text] if text else [], "degrade")
    if len(found) > 1:
        raise UserError(f"degrade: {text}: one degradation at a time")
    return found[0] if found else None


@dataclass(frozen=True)
class _Scored:
    """The scores of a split."""

    table: ScoreTable
    seconds: float
    notes: tuple[str, ...] = ()


class _Scorer:
    """The best checkpoint of a run, loaded when the first split is scored."""

    def __init__(
        self, run_dir: Path, config: RunConfig, places: Places, reporter: Reporter
    ) -> None:
        self._run_dir, self._config = run_dir, config
        self._places, self._reporter = places, reporter

    @functools.cached_property
    def _model(self) -> tuple[TrainState, Networks]:
        like = abstract_state(self._config, optimizer=False)
        state = checkpoint.restore(self._run_dir, checkpoint.BEST, like).state
        return state, build_networks(self._config)

    def __call__(
        self,
        datasets: Sequence[Prepared],
        split: Split,
        title: str,
        degradation: Degradation | None = None,
    ) -> _Scored:
        fetch_best(self._places, self._run_dir, self._reporter)
        view = split_view(datasets, split)
        notes: tuple[str, ...] = ()
        if is_classical(self._config.model.name):
            start = time.perf_counter()
            logits, notes = score_classical(
                self._run_dir, view, self._places, self._reporter, degradation
            )
        else:
            state, networks = self._model
            start = time.perf_counter()
            size = self._config.scoring.batch_size
            batches = eval_batches(view, batch_size=size, degradation=degradation)
            with self._reporter.bar(f"scoring {title}", "crop") as progress:
                logits = predict(state, networks, batches, len(view), progress=progress)
        return _Scored(scored_table(view, logits), time.perf_counter() - start, notes)


def _val_scores(
    run_dir: Path, config: RunConfig, places: Places, score: _Scorer, reporter: Reporter
) -> Path | None:
    """Return the scores of the training dataset's val split, made first where they are not there.

    None where the run was brought here without its training data; that is said, and the numbers
    that need them will be null.
    """
    path = run_dir / VAL_SCORES
    if decide(lambda: _readable(path)):
        return path
    try:
        datasets = prepare_spec(config.train, config.data, places, reporter)
    except UserError as error:
        reporter.say(f"no threshold and no temperature without {config.train}: {error}")
        return None
    with alone(path, f"{VAL} of {config.train} ({run_dir}) is being scored", reporter):
        if not decide(lambda: _readable(path)):  # or another job has scored it meanwhile
            scored = score(datasets, VAL, f"{config.train} {VAL}")
            first_does(lambda: write_scores(scored.table, path))
    keep_run(places, run_dir, reporter)
    return path


def _readable(path: Path) -> bool:
    with contextlib.suppress(UserError):  # missing, or damaged
        read_scores(path)
        return True
    return False


def _place(source: Path | None, target: Path) -> None:
    """Put a copy of a file in its place, or none."""
    if source is None:
        target.unlink(missing_ok=True)
        return
    with whole(target) as unfinished:
        shutil.copyfile(source, unfinished)


def _still_true(
    card: ResultCard,
    folder: Path,
    val: Path | None,
    record: TrainingRecord,
    config: RunConfig,
    datasets: Sequence[Prepared],
    protocol: str | None,
) -> bool:
    files = {"scores": folder / SCORES} | ({"val_scores": folder / VAL_SCORES} if val else {})
    return (
        card.config_hash == config_hash(config)
        and card.protocol == protocol
        and card.datasets.eval == tuple(d.fingerprint() for d in datasets)
        and card.files["checkpoint"] == record.checkpoint
        and set(card.metrics) == set(METRIC_NAMES)
        and ("val_scores" in card.files) == bool(val)
        and all(path.is_file() and card.files[k] == hash_file(path) for k, path in files.items())
        and (val is None or hash_file(val) == card.files["val_scores"])
    )


def _coverage(datasets: Sequence[Prepared]) -> dict[ClassName, Coverage]:
    """Add up the coverage of a union."""
    total: dict[ClassName, Coverage] = {}
    for dataset in datasets:
        for name, one in dataset.coverage(SPLIT).items():
            total[name] = one if name not in total else total[name] + one
    return total
