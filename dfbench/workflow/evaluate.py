"""A finished training scored on the test split of a dataset: scores, metrics, result card."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from dfbench.config import RunConfig, ScoringConfig, config_hash, read_toml, to_dict
from dfbench.data.pipeline import SplitView, eval_batches, split_view
from dfbench.data.prepared import Prepared
from dfbench.eval.metrics import compute_metrics
from dfbench.eval.predict import predict
from dfbench.eval.scores import UNDETECTED, ScoreTable, score_table, write_scores
from dfbench.paths import slug
from dfbench.progress import SILENT, Reporter
from dfbench.results.card import (
    Cell,
    ClassName,
    Coverage,
    Datasets,
    ResultCard,
    Times,
    card_name,
    role_of,
)
from dfbench.results.coverage import coverage_warnings
from dfbench.results.environment import environment
from dfbench.results.store import SCORES, hash_file, read_card, write_card
from dfbench.train import checkpoint
from dfbench.train.state import abstract_state, build_networks
from dfbench.workflow.leaks import SPLIT, audit_run
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import TrainingRecord, read_record
from dfbench.workflow.training import CONFIG


def evaluate(
    run_dir: Path,
    spec: str,
    places: Places,
    *,
    scoring: ScoringConfig | None = None,
    protocol: str | None = None,
    overwrite: bool = False,
    allow_leak: bool = False,
    reporter: Reporter = SILENT,
) -> tuple[ResultCard, Path]:
    """Score a run's best checkpoint on the test split of `spec`; return the card and its path.

    Writes `scores.parquet` and the card below `run_dir/evals/`. A card of the same checkpoint,
    crops and scoring is used again.

    Raises:
      UserError: no finished training in `run_dir`, unusable data, or, without `allow_leak`, test
        clips that were trained on.
    """
    record = read_record(run_dir)
    config = read_toml(run_dir / CONFIG)
    config = dataclasses.replace(config, eval=(spec,), scoring=scoring or config.scoring)
    datasets = prepare_spec(spec, config.data, places, reporter)
    audit = audit_run(run_dir, config.train, spec, datasets, allow_leak=allow_leak)
    folder = run_dir / "evals" / _folder_name(spec)
    cell = Cell(model=config.model.name, train=config.train, eval=spec, seed=config.seed)
    path = folder / card_name(cell)
    if not overwrite and path.is_file():
        card = read_card(path)
        if card.audit == audit and _still_true(
            card, folder / SCORES, record, config, datasets, protocol
        ):
            reporter.say(f"reusing the scores of {spec} ({folder})")
            return card, path
    folder.mkdir(parents=True, exist_ok=True)
    table, times = _score(run_dir, config, datasets, reporter)
    scores = folder / SCORES
    write_scores(table, scores)
    card = ResultCard(
        cell=cell,
        role=role_of(cell),
        protocol=protocol,
        warnings=(
            *coverage_warnings(record.datasets, ("train", "val")),
            *coverage_warnings([d.fingerprint() for d in datasets], (SPLIT,)),
        ),
        config=to_dict(config),
        config_hash=config_hash(config),
        training_hash=record.training_hash,
        datasets=Datasets(train=record.datasets, eval=tuple(d.fingerprint() for d in datasets)),
        metrics=compute_metrics(
            table,
            resamples=config.scoring.resamples,
            confidence=config.scoring.confidence,
            seed=config.seed,
        ),
        coverage=_coverage(datasets),
        training=record.summary,
        audit=audit,
        environment=environment(devices=True),
        times=times,
        files={"scores": hash_file(scores), "checkpoint": record.checkpoint}
        | ({"init": record.init} if record.init else {}),
    )
    write_card(card, path)
    return card, path


def _folder_name(spec: str) -> str:
    """Return a folder name; where the spec is no file name, with a hash that keeps it unique."""
    name = slug(spec)
    return name if name == spec else f"{name}-{hashlib.sha256(spec.encode()).hexdigest()[:8]}"


def _still_true(
    card: ResultCard,
    scores: Path,
    record: TrainingRecord,
    config: RunConfig,
    datasets: Sequence[Prepared],
    protocol: str | None,
) -> bool:
    crops = [d.manifest.crops_sha256 for d in datasets]
    return (
        card.config_hash == config_hash(config)
        and card.protocol == protocol
        and [d.crops_sha256 for d in card.datasets.eval] == crops
        and card.files["checkpoint"] == record.checkpoint
        and scores.is_file()
        and card.files["scores"] == hash_file(scores)
    )


def _score(
    run_dir: Path, config: RunConfig, datasets: Sequence[Prepared], reporter: Reporter
) -> tuple[ScoreTable, Times]:
    view = split_view(datasets, SPLIT)
    networks = build_networks(config)
    like = abstract_state(config, optimizer=False)
    state = checkpoint.restore(run_dir, checkpoint.BEST, like).state
    start = time.perf_counter()
    batches = eval_batches(view, batch_size=config.scoring.batch_size, workers=config.data.workers)
    with reporter.bar(f"scoring {config.eval[0]}", "crop") as progress:
        logits = predict(state, networks, batches, len(view), progress=progress)
    seconds = time.perf_counter() - start
    times = Times(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        scoring_seconds=seconds,
        images_per_s=len(view) / seconds,
    )
    return _table(view, datasets, logits), times


def _table(view: SplitView, datasets: Sequence[Prepared], logits: np.ndarray) -> ScoreTable:
    """Put crops and the videos without a crop into one table."""
    missed = [(d.name, m) for d in datasets for m in d.missed(view.split)]
    return score_table(
        dataset=[*view.dataset, *(name for name, _ in missed)],
        split=[view.split] * (len(view) + len(missed)),
        manipulation=[*view.text("manipulation"), *(m.manipulation for _, m in missed)],
        video=[*view.text("video"), *(m.video for _, m in missed)],
        frame=[*view.numbers("frame"), *(UNDETECTED for _ in missed)],
        label=[*view.labels, *(m.label for _, m in missed)],
        logit=[*logits, *(np.nan for _ in missed)],
    )


def _coverage(datasets: Sequence[Prepared]) -> dict[ClassName, Coverage]:
    """Add up the coverage of a union."""
    total: dict[ClassName, Coverage] = {}
    for dataset in datasets:
        for name, one in dataset.coverage(SPLIT).items():
            total[name] = one if name not in total else total[name] + one
    return total
