"""The weights that a training starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from dfbench.config import ModelConfig
from dfbench.models.weights.catalog import weights_path
from dfbench.models.weights.load import load_weights
from dfbench.progress import Reporter
from dfbench.results.card import FileHash
from dfbench.results.store import hash_file
from dfbench.train.state import TrainState


@dataclass(frozen=True)
class Start:
    """Imported weights.

    Attributes:
        file: Hash of their file; None where Keras keeps and checks it.
        apply: Puts them into the first state.
    """

    file: FileHash | None
    apply: Callable[[TrainState], TrainState]


def starting_weights(config: ModelConfig, reporter: Reporter) -> Start | None:
    """Find the weights that `config.init` names; None where a training starts from random ones.

    Raises:
        UserError: There are no such weights. Whether they fit shows when they are applied.
    """
    if config.init is None:
        return None
    path = weights_path(config.name, config.init, reporter=reporter)

    def apply(state: TrainState) -> TrainState:
        loaded = load_weights(
            config.name,
            path,
            state.params,
            state.batch_stats,
            label=config.init_label,
            new_head=config.head is not None,
        )
        for note in loaded.notes:
            reporter.say(f"{config.init}: {note}")
        return replace(state, params=loaded.params, batch_stats=loaded.batch_stats)

    return Start(hash_file(path) if path else None, apply)
