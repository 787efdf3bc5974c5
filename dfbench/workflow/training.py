"""A configuration to a finished run folder."""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import pyarrow as pa

from dfbench.classical.catalog import is_classical
from dfbench.config import RunConfig, total_epochs, training_hash, write_toml
from dfbench.data.clips import clip_table
from dfbench.data.keys import clip_key
from dfbench.data.pipeline import class_weights, eval_batches, train_batches
from dfbench.data.prepared import Prepared
from dfbench.data.view import SplitView, split_view
from dfbench.errors import UserError
from dfbench.eval.metrics import video_auc_of
from dfbench.eval.predict import predict
from dfbench.eval.scores import sigmoid
from dfbench.faces.clip import Split
from dfbench.paths import slug
from dfbench.processes import decide, first_does, several
from dfbench.progress import SILENT, Reporter
from dfbench.report.curves import write_curves
from dfbench.results.card import TrainingSummary
from dfbench.results.environment import environment
from dfbench.results.store import hash_folder
from dfbench.train import checkpoint
from dfbench.train.divergence import Rows
from dfbench.train.history import read_history
from dfbench.train.loop import fit
from dfbench.train.parallel import check_batch_size
from dfbench.train.state import Networks, TrainState, build_networks
from dfbench.train.task import FitResult, Task, Validation
from dfbench.workflow.alone import alone
from dfbench.workflow.initial import Start, starting_weights
from dfbench.workflow.mirrored import drop_run, fetch_run, keep_checkpoint, keep_run
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import (
    RECORD,
    TrainingRecord,
    write_record,
    write_seen,
)

CONFIG = "config.toml"
HISTORY = "metrics.jsonl"
TRAINED_ON: tuple[Split, ...] = ("train", "val")


def train(
    config: RunConfig,
    places: Places,
    *,
    resume: bool = False,
    overwrite: bool = False,
    keep_epochs: bool = False,
    reporter: Reporter = SILENT,
) -> Path:
    """Train by `config` and return the run's folder; a finished one is used again.

    The folder's name carries a hash of all settings that matter to the training, of the crops it
    trains on and of the weights it starts from, so whatever changes is another run. The best epoch
    is chosen on the training dataset's own val split. With `keep_epochs` the parameters of every
    epoch stay, which changes nothing else.

    Raises:
      UserError: unusable data, or an unfinished training in the folder and neither `resume` nor
        `overwrite`.
    """
    if is_classical(config.model.name):
        from dfbench.workflow.classical import train_classical

        return train_classical(config, places, overwrite=overwrite, reporter=reporter)
    with ExitStack() as held:
        begun = begin(config, places, held, resume=resume, overwrite=overwrite, reporter=reporter)
        if isinstance(begun, Path):
            return begun
        task = begun.task(keep_epochs=keep_epochs, reporter=reporter)
        with reporter.bar(begun.title, "step") as progress:
            result = fit(dataclasses.replace(task, progress=progress))
        return begun.finish(result, reporter)


@dataclass(frozen=True, kw_only=True)
class Begun:
    """A run folder whose training is to be done, or to be gone on with."""

    config: RunConfig
    places: Places
    run_dir: Path
    datasets: tuple[Prepared, ...]
    weights: Start | None  # it starts from
    seen: pa.Table  # the clips it trains on
    resume: bool

    @property
    def title(self) -> str:
        """Say what is trained."""
        return f"training {self.config.model.name} on {self.config.train}"

    def task(self, *, keep_epochs: bool, reporter: Reporter) -> Task:
        """Open the data."""
        config, settings = self.config, self.config.training
        view = split_view(self.datasets, "train")
        batches = train_batches(
            view,
            batch_size=settings.batch_size,
            seed=config.seed,
            balance=settings.balance,
            mix=settings.mix,
            workers=config.data.workers,
        )
        most = _epochs(total_epochs(config))
        reporter.say(f"{self.title}: {len(view)} crops, at most {most}")
        return Task(
            config=config,
            batches=batches,
            steps_per_epoch=max(1, round(len(view) / settings.batch_size)),
            class_weights=_class_weights(config, view),
            validate=_validation(config, split_view(self.datasets, "val")),
            run_dir=self.run_dir,
            start=self.weights.apply if self.weights else None,
            resume=self.resume,
            keep_epochs=keep_epochs,
            saved=partial(keep_checkpoint, self.places, self.run_dir, reporter),
            names=partial(_clips, view),
        )

    def finish(self, result: FitResult, reporter: Reporter, beside: tuple[int, ...] = ()) -> Path:
        """Write what the training was, and return its folder; `beside` as in `TrainingRecord`."""
        first_does(lambda: self._write(result, beside))
        keep_run(self.places, self.run_dir, reporter)
        reporter.say(_said(result, self.run_dir))
        return self.run_dir

    def _write(self, result: FitResult, beside: tuple[int, ...]) -> None:
        run_dir, init = self.run_dir, self.weights.file if self.weights else None
        write_curves(read_history(run_dir / HISTORY), run_dir / "curves.png")
        write_seen(run_dir, self.seen)
        best = checkpoint.checkpoint_dir(run_dir, checkpoint.BEST)
        record = TrainingRecord(
            training_hash=training_hash(self.config),
            datasets=tuple(dataset.fingerprint() for dataset in self.datasets),
            summary=_summary(result),
            environment=environment(devices=True),
            checkpoint=hash_folder(best),
            init=init,
            beside=beside,
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        )
        write_record(run_dir, record)


def begin(
    config: RunConfig,
    places: Places,
    held: ExitStack,
    *,
    resume: bool,
    overwrite: bool,
    reporter: Reporter,
) -> Begun | Path:
    """Open the folder of a run; where its training is finished, return the folder alone.

    Args:
      config: what is trained.
      places: where data and runs lie.
      held: keeps other jobs out of the folder until it is closed.
      resume: go on with what was interrupted.
      overwrite: train again from the start.
      reporter: where progress is told.

    Raises:
      UserError: as of `train`.
    """
    weights = check_settings(config, reporter)
    datasets = tuple(prepare_spec(config.train, config.data, places, reporter))
    run_dir = places.runs_dir / run_name(config, datasets, weights)

    def reused() -> bool:
        if overwrite or not decide((run_dir / RECORD).is_file):
            return False
        keep_run(places, run_dir, reporter)  # if it was not sent to its end
        reporter.say(f"reusing the finished training {run_dir}")
        return True

    if not overwrite:
        fetch_run(places, run_dir, reporter, to_resume=True)
    if reused():
        return run_dir
    held.enter_context(alone(run_dir, f"{run_dir} is being trained", reporter))
    if reused():  # another job has trained it meanwhile
        return run_dir
    unfinished = decide(lambda: checkpoint.exists(run_dir, checkpoint.LAST))
    if unfinished and not (resume or overwrite):
        raise UserError(
            f"{run_dir} holds an unfinished training: --resume goes on with it, --overwrite starts "
            "again"
        )
    if overwrite:
        first_does(lambda: drop_run(places, run_dir, reporter))
    first_does(lambda: _begin_folder(run_dir, config, overwrite=overwrite))
    return Begun(
        config=config,
        places=places,
        run_dir=run_dir,
        datasets=datasets,
        weights=weights,
        seen=clip_table(datasets, TRAINED_ON),
        resume=resume and unfinished,
    )


def _begin_folder(run_dir: Path, config: RunConfig, *, overwrite: bool) -> None:
    if overwrite:
        shutil.rmtree(run_dir, ignore_errors=True)
    write_toml(config, run_dir / CONFIG)


def check_settings(config: RunConfig, reporter: Reporter = SILENT) -> Start | None:
    """Return the weights to start from; whatever is wrong shows before the data are prepared.

    Raises:
      UserError: a batch size, a phase or weights that cannot be used.
    """
    if is_classical(config.model.name):
        from dfbench.workflow.classical import check_classical

        if several():
            raise UserError(
                f"{config.model.name} is trained by one process: leave out the others (in a "
                "cluster's job --processes 1)"
            )
        check_classical(config)
        return None
    check_batch_size(config.training.batch_size)
    for phase in range(len(config.phases)):
        build_networks(config, phase=phase)
    return starting_weights(config.model, reporter)


def run_name(
    config: RunConfig,
    datasets: Sequence[Prepared],
    weights: Start | None = None,
    files: Sequence[str] = (),
) -> str:
    """Return the name of the run's folder; `files` are hashes of what else the training needs."""
    fields = [training_hash(config), *(d.manifest.crops_sha256 for d in datasets)]
    fields += [weights.file.sha256] if weights and weights.file else []
    fields += files
    fields += [f"{m}" for d in datasets for m in d.manipulations]
    digest = hashlib.sha256(json.dumps(fields).encode()).hexdigest()[:10]
    return f"{slug(config.model.name)}-{slug(config.train)}-s{config.seed}-{digest}"


def _class_weights(config: RunConfig, view: SplitView) -> tuple[float, float]:
    """Return the weights of real and fake in the loss: those given, or else by the balance."""
    if config.training.class_weights:
        real, fake = config.training.class_weights
        return real, fake
    return class_weights(view, config.training.balance, config.training.mix)


def _clips(view: SplitView, rows: Rows) -> list[str]:
    """Return the keys of the clips that crops are from."""
    videos = view.text("video")[rows]
    return [clip_key(*key) for key in zip(view.dataset[rows], videos, strict=True)]


def _validation(config: RunConfig, view: SplitView) -> Callable[[TrainState], Validation]:
    """Return the function that scores a state on the source's val split."""
    networks: Networks = build_networks(config)
    labels, videos = view.labels, view.video_codes

    def validate(state: TrainState) -> Validation:
        batches = eval_batches(view, batch_size=config.scoring.batch_size)
        logits = predict(state, networks, batches, len(view))
        p_fake, wide = sigmoid(logits), logits.astype(np.float64)
        if config.training.loss == "bce":
            losses = np.logaddexp(0.0, np.where(labels == 1, -wide, wide))
        else:
            losses = np.square(p_fake.astype(np.float64) - labels)
        auc = video_auc_of(labels, p_fake, videos)
        return Validation(loss=float(losses.mean()), video_auc=auc)

    return validate


def _summary(result: FitResult) -> TrainingSummary:
    return TrainingSummary(
        epochs=result.epochs,
        steps=result.steps,
        best_epoch=result.best_epoch,
        best_val_auc=result.best_val_auc,
        best_val_loss=result.best_val_loss,
        selected_by=result.selected_by,
        stopped_early=result.stopped_early,
        wall_seconds=result.wall_seconds,
        images_per_s=result.images_per_s,
    )


def _said(result: FitResult, run_dir: Path) -> str:
    auc = "undefined" if result.best_val_auc is None else f"{result.best_val_auc:.3f}"
    return (
        f"trained {_epochs(result.epochs)} in {result.wall_seconds:.0f} s; best epoch "
        f"{result.best_epoch} by {result.selected_by} (val video AUC {auc}); {run_dir}"
    )


def _epochs(count: int) -> str:
    return f"{count} epoch{'s' if count != 1 else ''}"
