"""Transfer learning from a file of weights, as a user asks for it."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from support.weights import Net, flat, make_net, meso4_layers, write_keras
from workflow.conftest import Trained

from dfbench.config import ModelConfig, OptimConfig, PhaseConfig, RunConfig, TrainingConfig
from dfbench.errors import UserError
from dfbench.progress import Reporter
from dfbench.results.store import hash_file
from dfbench.train import checkpoint
from dfbench.train.state import TrainState, abstract_state
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.initial import starting_weights
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import read_record
from dfbench.workflow.training import run_name, train


def _config(trained: Trained, init: Path) -> RunConfig:
    """Train the head for an epoch, then the last stage too."""
    head = PhaseConfig(epochs=1, train=("head.*",), optim=OptimConfig(lr=1e-3))
    last = PhaseConfig(
        epochs=1,
        train=("head.*", "convs.3.*", "norms.3.*"),
        optim=OptimConfig(name="sgd", lr=5e-4),
    )
    return dataclasses.replace(
        trained.config,
        model=ModelConfig(dropout=0.0, init=str(init)),
        training=TrainingConfig(batch_size=8, patience=0),
        phases=(head, last),
    )


def _last(folder: Path, config: RunConfig) -> TrainState:
    like = abstract_state(config, optimizer=False)
    like = dataclasses.replace(like, opt_state=None)
    return checkpoint.restore(folder, checkpoint.BEST, like).state


@pytest.fixture(scope="module")
def net() -> Net:
    return make_net("meso4")


@pytest.fixture(scope="module")
def init(net: Net, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_keras(tmp_path_factory.mktemp("weights") / "mine.h5", meso4_layers(net))


def test_two_phases_from_a_file(trained: Trained, net: Net, init: Path, tmp_path: Path) -> None:
    config = _config(trained, init)
    places = dataclasses.replace(trained.places, runs_dir=tmp_path)
    folder = train(config, places)
    found, wanted = flat(_last(folder, config).params), flat(net.params)
    changed = {name for name in wanted if not np.array_equal(found[name], wanted[name])}
    # What no phase trains is the file's, bit for bit.
    untouched = {n for n in wanted if n.startswith(("convs", "norms")) and ".3." not in n}
    assert len(untouched) == 12
    assert not changed & untouched
    assert {"head.output.kernel", "head.hidden.0.kernel"} <= changed
    assert read_record(folder).summary.epochs == 2
    # The file is part of the story, down to the card.
    card, _ = evaluate(folder, config.train, places)
    assert card.files["init"] == read_record(folder).init == hash_file(init)
    assert "init" not in trained.within[0].files


def test_the_folder_is_named_by_the_weights(
    trained: Trained, net: Net, init: Path, tmp_path: Path
) -> None:
    config = _config(trained, init)
    datasets = prepare_spec(config.train, config.data, trained.places)

    def name() -> str:
        start = starting_weights(config.model, Reporter())
        return run_name(config, datasets, start)

    before, content = name(), init.read_bytes()
    write_keras(init, meso4_layers(make_net("meso4", seed=1)))
    assert name() != before
    init.write_bytes(content)
    assert name() == before


def test_a_pattern_of_no_parameter_stops_before_the_data_are_prepared(
    trained: Trained, init: Path
) -> None:
    config = dataclasses.replace(_config(trained, init), train="folder:/nowhere")
    wrong = PhaseConfig(epochs=1, train=("haed.*",))
    config = dataclasses.replace(config, phases=(*config.phases, wrong))  # the last counts too
    with pytest.raises(UserError, match=r"'haed\.\*' is the name of no parameter"):
        train(config, trained.places)


def test_missing_weights_stop_before_the_data_are_prepared(
    trained: Trained, tmp_path: Path
) -> None:
    config = _config(trained, tmp_path / "nothing.h5")
    config = dataclasses.replace(config, train="folder:/nowhere")
    with pytest.raises(UserError, match=r"nothing\.h5: no such weights file"):
        train(config, trained.places)
