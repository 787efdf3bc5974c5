"""The weights that a training starts from."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from dfbench.config import ModelConfig
from dfbench.models.registry import KERAS_PREFIX, get_model
from dfbench.models.weights.catalog import weights_path
from dfbench.models.weights.load import load_weights
from dfbench.progress import Reporter
from dfbench.results.card import FileHash
from dfbench.results.store import hash_file
from dfbench.train.state import TrainState

IMAGENET = "imagenet"


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
    if config.name.startswith(KERAS_PREFIX):
        return _of_keras(config)
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
            reporter.say(f"{path.name}: {note}")
        return replace(state, params=loaded.params, batch_stats=loaded.batch_stats)

    return Start(hash_file(path), apply)


def _of_keras(config: ModelConfig) -> Start:
    from dfbench.models.keras_weights import file_weights, imagenet_weights

    name, side = config.name.removeprefix(KERAS_PREFIX), get_model(config.name).input_size
    file = None if config.init in (None, IMAGENET) else Path(config.init).expanduser()

    def apply(state: TrainState) -> TrainState:
        if file is None:
            params, batch_stats = imagenet_weights(name, side)
        else:
            params, batch_stats = file_weights(name, side, file)
        # The head stays random.
        return replace(
            state, params=state.params | params, batch_stats=state.batch_stats | batch_stats
        )

    return Start(None if file is None or not file.is_file() else hash_file(file), apply)
