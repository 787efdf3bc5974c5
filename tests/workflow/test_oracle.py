from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from support.photos import write_photos
from support.train import assert_trees_equal, small_models

from dfbench.config import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    ScoringConfig,
    TrainingConfig,
)
from dfbench.results.card import OracleGap
from dfbench.results.store import read_card
from dfbench.train import checkpoint
from dfbench.train.history import read_history
from dfbench.train.state import abstract_state
from dfbench.workflow.matrix import Outcome, Plan, make_cells
from dfbench.workflow.oracle import oracle_gap, score_epochs
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_spec
from dfbench.workflow.record import read_record
from dfbench.workflow.training import HISTORY, train

EPOCHS = 4


@pytest.fixture(scope="module", autouse=True)
def _small_models() -> Iterator[None]:
    with small_models():
        yield


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    root = tmp_path_factory.mktemp("oracle")
    mine, yours = root / "mine", root / "yours"
    write_photos(mine, real=40, fake=40)
    write_photos(yours, real=40, fake=40, seed=1)
    for number in range(0, 40, 2):  # half of them are what they are not: AUCs away from 1
        real, fake = yours / f"real/real{number:03d}.png", yours / f"fake/fake{number:03d}.png"
        real.rename(yours / "swap.png")
        fake.rename(real)
        (yours / "swap.png").rename(fake)
    return RunConfig(
        train=f"folder:{mine}",
        eval=(f"folder:{yours}",),
        model=ModelConfig(name="tiny", dropout=0.0),
        data=DataConfig(detector="none", crop_size=32),
        optim=OptimConfig(lr=0.1),
        training=TrainingConfig(epochs=EPOCHS, batch_size=8, patience=0),
        scoring=ScoringConfig(batch_size=16, resamples=20),
    )


@pytest.fixture(scope="module")
def plain(config: RunConfig, tmp_path_factory: pytest.TempPathFactory) -> Places:
    """A run without --oracle."""
    root = tmp_path_factory.mktemp("plain")
    places = Places(data_dir=root / "data", runs_dir=root / "runs", jobs=1)
    make_cells([config], places, Plan())
    return places


@pytest.fixture(scope="module")
def kept(config: RunConfig, plain: Places) -> tuple[Places, list[Outcome]]:
    places = replace(plain, runs_dir=plain.runs_dir.parent / "kept")
    return places, make_cells([config], places, Plan(oracle=True, keep_epochs=True))


def run_of(places: Places) -> Path:
    (folder,) = (path for path in places.runs_dir.iterdir() if path.is_dir())
    return folder


def test_the_training_is_the_same_bit_for_bit(
    config: RunConfig, plain: Places, kept: tuple[Places, list[Outcome]]
) -> None:
    one, two = run_of(plain), run_of(kept[0])
    assert one.name == two.name
    for name, optimizer in ((checkpoint.BEST, False), (checkpoint.LAST, True)):
        like = abstract_state(config, optimizer=optimizer)
        found, wanted = (checkpoint.restore(run, name, like) for run in (two, one))
        assert_trees_equal(found.state, wanted.state)
        assert found.progress == wanted.progress
    rows = [
        [{k: v for k, v in row.items() if k != "images_per_s"} for row in read_history(r / HISTORY)]
        for r in (one, two)
    ]
    assert rows[0] == rows[1]
    assert checkpoint.kept_epochs(one) == []
    assert checkpoint.kept_epochs(two) == list(range(1, EPOCHS + 1))


def test_the_best_checkpoint_is_that_of_its_epoch(
    config: RunConfig, kept: tuple[Places, list[Outcome]]
) -> None:
    folder, like = run_of(kept[0]), abstract_state(config, optimizer=False)
    epoch = checkpoint.epoch_name(read_record(folder).summary.best_epoch)
    found, wanted = (
        checkpoint.restore(folder, name, like).state for name in (epoch, checkpoint.BEST)
    )
    assert_trees_equal(found, wanted)


def test_the_gap_stands_in_the_card_and_changes_nothing_else(
    config: RunConfig, plain: Places, kept: tuple[Places, list[Outcome]]
) -> None:
    for outcome in kept[1]:
        card = outcome.card
        assert card is not None
        assert card.oracle is not None
        assert outcome.path is not None
        assert read_card(outcome.path) == card
        auc = card.metrics["video_auc"].value
        assert auc is not None
        assert card.oracle.video_auc is not None
        assert card.oracle.gain == pytest.approx(card.oracle.video_auc - auc, abs=1e-12)
        assert card.oracle.gain >= 0
        assert card.oracle.epochs == EPOCHS
        other = read_card(run_of(plain) / outcome.path.relative_to(run_of(kept[0])))
        assert other.oracle is None
        assert card.metrics == other.metrics
        assert (card.config_hash, card.training_hash) == (other.config_hash, other.training_hash)
        assert card.files["scores"].bytes == other.files["scores"].bytes


def test_every_epoch_is_scored_with_its_own_parameters(
    config: RunConfig, kept: tuple[Places, list[Outcome]]
) -> None:
    places, outcomes = kept
    folder, card = run_of(places), outcomes[1].card
    assert card is not None
    assert card.oracle is not None
    datasets = prepare_spec(config.eval[0], config.data, places)
    aucs = score_epochs(folder, config, datasets, config.eval[0])
    assert list(aucs) == list(range(1, EPOCHS + 1))
    assert len(set(aucs.values())) > 1
    chosen = read_record(folder).summary.best_epoch
    assert aucs[chosen] == pytest.approx(card.metrics["video_auc"].value, abs=1e-12)
    assert card.oracle == oracle_gap(aucs, chosen)


def test_frames_become_videos_as_in_the_card(
    config: RunConfig, kept: tuple[Places, list[Outcome]]
) -> None:
    places, before = kept
    by_max = replace(config, scoring=replace(config.scoring, aggregate="max"))
    outcomes = make_cells([by_max], places, Plan(oracle=True, keep_epochs=True))
    for outcome, mean in zip(outcomes, before, strict=True):
        assert outcome.card is not None
        assert mean.card is not None
        assert outcome.card.oracle is not None
        assert mean.card.config_hash != outcome.card.config_hash
        auc = outcome.card.metrics["video_auc"].value
        assert auc is not None
        assert outcome.card.oracle.video_auc is not None
        gain = outcome.card.oracle.video_auc - auc
        assert outcome.card.oracle.gain == pytest.approx(gain, abs=1e-12)


def test_epochs_are_deleted_after_scoring_and_the_gap_stays(
    config: RunConfig, kept: tuple[Places, list[Outcome]], plain: Places, tmp_path: Path
) -> None:
    places = replace(plain, runs_dir=tmp_path)
    first = make_cells([config], places, Plan(oracle=True))
    folder = run_of(places)
    assert checkpoint.kept_epochs(folder) == []
    names = sorted(path.name for path in (folder / "checkpoints").iterdir())
    assert names == ["best", "last"]
    gaps = [outcome.card.oracle for outcome in first if outcome.card]
    assert gaps == [outcome.card.oracle for outcome in kept[1] if outcome.card]
    for plan in (Plan(oracle=True), Plan()):
        again = make_cells([config], places, plan)
        assert [outcome.card for outcome in again] == [outcome.card for outcome in first]


def test_a_training_that_kept_no_epochs_has_no_gap(config: RunConfig, plain: Places) -> None:
    outcomes = make_cells([config], plain, Plan(oracle=True))
    assert [outcome.card.oracle for outcome in outcomes if outcome.card] == [None, None]
    again = make_cells([config], plain, Plan(oracle=True, overwrite=True))
    assert all(outcome.card and outcome.card.oracle for outcome in again)


def test_epochs_of_a_part_of_the_training_are_no_basis(
    config: RunConfig, kept: tuple[Places, list[Outcome]], plain: Places, tmp_path: Path
) -> None:
    places = replace(plain, runs_dir=tmp_path)
    folder = train(config, places, keep_epochs=True)
    (dropped,) = folder.glob("checkpoints/epoch-0001")
    dropped.rename(folder / "elsewhere")
    outcomes = make_cells([config], places, Plan(oracle=True))
    assert [outcome.card.oracle for outcome in outcomes if outcome.card] == [None, None]


@pytest.mark.parametrize(
    ("aucs", "chosen", "gap"),
    [
        ({1: 0.5, 2: 0.75, 3: 0.625}, 3, (2, 0.75, 0.125)),
        ({1: 0.5, 2: 0.75, 3: 0.75}, 3, (3, 0.75, 0.0)),  # of equal ones the chosen
        ({1: 0.75, 2: 0.75, 3: 0.5}, 3, (1, 0.75, 0.25)),  # or else the first
        ({1: 0.5}, 1, (1, 0.5, 0.0)),
        ({1: None, 2: None}, 2, (2, None, None)),
    ],
)
def test_gap(
    aucs: dict[int, float | None], chosen: int, gap: tuple[int, float | None, float | None]
) -> None:
    found = oracle_gap(aucs, chosen)
    assert found == OracleGap(epoch=gap[0], video_auc=gap[1], gain=gap[2], epochs=len(aucs))
