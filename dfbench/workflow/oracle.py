"""The oracle gap: what choosing the epoch on the evaluated data would have gained.

It is what some published numbers contain. Here it is information, beside a number that is chosen on
the training dataset's own val split, and nothing is ranked by it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from dfbench.config import RunConfig
from dfbench.data.pipeline import eval_batches
from dfbench.data.prepared import Prepared
from dfbench.data.view import SplitView, split_view
from dfbench.eval.metrics import video_auc_of
from dfbench.eval.predict import predict
from dfbench.eval.videos import video_scores
from dfbench.progress import SILENT, Reporter
from dfbench.results.card import OracleGap
from dfbench.train import checkpoint
from dfbench.train.state import abstract_state, build_networks
from dfbench.workflow.leaks import SPLIT
from dfbench.workflow.record import TrainingRecord
from dfbench.workflow.scored import scored_table


def all_epochs_kept(run_dir: Path, record: TrainingRecord) -> bool:
    """Return whether every epoch of a finished training can be scored; classical ones have none."""
    epochs = list(range(1, record.summary.epochs + 1))
    return bool(epochs) and checkpoint.kept_epochs(run_dir) == epochs


def score_epochs(
    run_dir: Path,
    config: RunConfig,
    datasets: Sequence[Prepared],
    spec: str,
    reporter: Reporter = SILENT,
) -> dict[int, float | None]:
    """Return the video AUC on the test split by epoch; None where it is undefined.

    Args:
      run_dir: of a training that kept its epochs.
      config: of that training and its scoring.
      datasets: prepared.
      spec: their name on the command line.
      reporter: where progress is told.

    Raises:
      UserError: a checkpoint that cannot be read, or logits that are not finite.
    """
    view = split_view(datasets, SPLIT)
    networks, like = build_networks(config), abstract_state(config, optimizer=False)
    found: dict[int, float | None] = {}
    epochs = checkpoint.kept_epochs(run_dir)
    with reporter.bar(f"scoring all epochs on {spec}", "epoch") as progress:
        for epoch in epochs:
            state = checkpoint.restore(run_dir, checkpoint.epoch_name(epoch), like).state
            batches = eval_batches(view, batch_size=config.scoring.batch_size)
            found[epoch] = _video_auc(config, view, predict(state, networks, batches, len(view)))
            progress(len(found), len(epochs))
    return found


def _video_auc(
    config: RunConfig, view: SplitView, logits: Float[np.ndarray, " crops"]
) -> float | None:
    """Return what a card calls `video_auc`."""
    videos = video_scores(
        scored_table(view, logits), config.scoring.aggregate, config.scoring.top_k
    )
    return video_auc_of(videos.label, videos.p_fake, np.arange(len(videos)))


def oracle_gap(aucs: Mapping[int, float | None], chosen: int) -> OracleGap:
    """Compare the epoch that was `chosen` with the best of all; of equal ones it is the best."""
    defined = {epoch: auc for epoch, auc in aucs.items() if auc is not None}
    if chosen not in defined:
        return OracleGap(epoch=chosen, video_auc=None, gain=None, epochs=len(aucs))
    best = max(defined, key=lambda epoch: (defined[epoch], epoch == chosen, -epoch))
    return OracleGap(
        epoch=best,
        video_auc=defined[best],
        gain=defined[best] - defined[chosen],
        epochs=len(aucs),
    )
