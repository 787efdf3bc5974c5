"""Seeds made together: the same folders, and to rounding the same cards."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.photos import write_photos
from support.train import small_models

from dfbench.config import (
    DataConfig,
    ModelConfig,
    OptimConfig,
    RunConfig,
    ScoringConfig,
    TrainingConfig,
)
from dfbench.errors import UserError
from dfbench.progress import Reporter
from dfbench.train.history import read_history
from dfbench.workflow import seeds
from dfbench.workflow.matrix import Outcome, Plan, make_cells
from dfbench.workflow.places import Places
from dfbench.workflow.record import RECORD, read_record
from dfbench.workflow.seeds import together
from dfbench.workflow.training import train

PLAN = Plan(survive=True, resume=True, seeds_parallel=8)


@pytest.fixture(scope="module", autouse=True)
def _small_models() -> Iterator[None]:
    with small_models():
        yield


@pytest.fixture
def _worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an accelerator: on a CPU seeds are not trained together."""
    monkeypatch.setattr(seeds, "why_alone", lambda model: "")


@dataclasses.dataclass(frozen=True)
class Made:
    """Two seeds, each trained alone."""

    configs: list[RunConfig]
    places: Places
    outcomes: list[Outcome]

    def elsewhere(self, folder: Path) -> Places:
        """Return places with the same data and no run."""
        return dataclasses.replace(self.places, runs_dir=folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("seeds")
    base = RunConfig(
        train=f"folder:{write_photos(root / 'mine', real=30, fake=30)}",
        model=ModelConfig(name="tiny", dropout=0.5),
        data=DataConfig(detector="none", crop_size=32),
        training=TrainingConfig(epochs=2, batch_size=8),
        scoring=ScoringConfig(batch_size=16, resamples=20),
    )
    configs = [base, dataclasses.replace(base, seed=1)]
    places = Places(data_dir=root / "data", runs_dir=root / "runs", jobs=1)
    return Made(configs, places, make_cells(configs, places, Plan()))


def _folder(outcome: Outcome) -> Path:
    assert outcome.path is not None
    return outcome.path.parents[2]


@pytest.mark.usefixtures("_worth_it")
def test_the_cells_are_those_of_trainings_alone(made: Made, tmp_path: Path) -> None:
    said: list[str] = []
    reporter = Reporter(say=said.append)
    outcomes = make_cells(made.configs, made.elsewhere(tmp_path), PLAN, reporter=reporter)
    assert "seeds 0, 1 are trained together" in said
    for seed, (found, wanted) in enumerate(zip(outcomes, made.outcomes, strict=True)):
        assert found.end == "done"
        assert found.card is not None
        assert wanted.card is not None
        assert _folder(found).name == _folder(wanted).name
        assert found.card.config == wanted.card.config
        auc, expected = (card.metrics["video_auc"].value for card in (found.card, wanted.card))
        assert auc == pytest.approx(expected, abs=0.02)
        record, alone = read_record(_folder(found)), read_record(_folder(wanted))
        assert (record.beside, alone.beside) == ((1 - seed,), ())
        assert record.training_hash == alone.training_hash
        assert record.summary.steps == alone.summary.steps
        losses, wanted_losses = (
            [
                row["val_loss"]
                for row in read_history(_folder(one) / "metrics.jsonl")
                if "best" in row
            ]
            for one in (found, wanted)
        )
        assert losses == pytest.approx(wanted_losses, rel=1e-3)
    make_cells(made.configs, made.elsewhere(tmp_path), PLAN, reporter=reporter)
    assert said.count("seeds 0, 1 are trained together") == 1
    assert sum(line.startswith("reusing the finished training") for line in said) == 2


@pytest.mark.slow
@pytest.mark.usefixtures("_worth_it")
def test_what_was_begun_together_is_gone_on_with_alone(made: Made, tmp_path: Path) -> None:
    """Seed 1 lacks its record, as after a kill; seed 0 is finished and is not trained again."""
    places = made.elsewhere(tmp_path)
    outcomes = make_cells(made.configs, places, PLAN)
    record = _folder(outcomes[1]) / RECORD
    record.unlink()
    with pytest.raises(UserError, match="--resume goes on with it"):
        train(made.configs[1], places)
    folders = [train(config, places, resume=True) for config in made.configs]
    assert folders == [_folder(outcome) for outcome in outcomes]
    assert [read_record(folder).beside for folder in folders] == [(1,), ()]


@pytest.mark.slow
@pytest.mark.usefixtures("_worth_it")
def test_one_that_cannot_begin_stops_no_other(made: Made, tmp_path: Path) -> None:
    places = made.elsewhere(tmp_path)
    outcomes = make_cells(made.configs, places, PLAN)
    for outcome in outcomes:
        (_folder(outcome) / RECORD).unlink()
    (_folder(outcomes[1]) / "checkpoints" / "last").rename(tmp_path / "moved")
    plan = dataclasses.replace(PLAN, resume=False)
    ends = [(one.end, one.reason) for one in make_cells(made.configs, places, plan)]
    assert ends[0][0] == "failed"
    assert "--resume goes on with it" in ends[0][1]
    assert ends[1] == ("done", "")
    with pytest.raises(UserError, match="--resume goes on with it"):
        make_cells(made.configs, places, dataclasses.replace(plan, survive=False))


@pytest.mark.usefixtures("_worth_it")
def test_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    base = RunConfig(train="uadfv", model=ModelConfig(name="tiny"))
    other = dataclasses.replace(base, optim=OptimConfig(lr=0.5))
    configs = [dataclasses.replace(one, seed=n) for n in range(3) for one in (base, other)]
    configs.append(dataclasses.replace(base, eval=("celebdf",)))  # the first training once more
    said: list[str] = []
    reporter = Reporter(say=said.append)
    assert together(configs, 8, reporter) == [[0, 2, 4], [1, 3, 5], [6]]
    assert together(configs, 2, reporter) == [[0, 2], [1, 3], [4], [5], [6]]
    assert together(configs, 1, reporter) == [[n] for n in range(7)]
    assert not said
    assert together([base, other], 8, reporter) == [[0], [1]]
    assert said == ["--seeds-parallel changes nothing: no two trainings differ in their seed alone"]
    monkeypatch.setattr(seeds, "several", lambda: True)
    with pytest.raises(UserError, match="--seeds-parallel is for one process"):
        together(configs, 8, reporter)


@pytest.mark.parametrize(
    ("model", "backend", "why"),
    [
        ("meso4", "cpu", "a training keeps all cores busy by itself"),
        ("meso4", "gpu", ""),
        ("resnet18", "gpu", "resnet18 keeps a device busy by itself"),
        ("tiny", "gpu", ""),  # whose multiply-adds nobody wrote down
        ("landmarks_logistic", "gpu", "landmarks_logistic takes no steps on a device"),
    ],
)
def test_what_stays_alone_says_why(
    monkeypatch: pytest.MonkeyPatch, model: str, backend: str, why: str
) -> None:
    monkeypatch.setattr("jax.default_backend", lambda: backend)
    base = RunConfig(train="uadfv", model=ModelConfig(name=model))
    configs = [base, dataclasses.replace(base, seed=1)]
    said: list[str] = []
    groups = together(configs, 8, Reporter(say=said.append))
    assert groups == ([[0], [1]] if why else [[0, 1]])
    whole = f"--seeds-parallel: {why}, its seeds are trained one after the other"
    assert said == ([whole] if why else [])
