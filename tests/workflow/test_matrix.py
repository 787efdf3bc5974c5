from __future__ import annotations

import argparse
import io
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from support.photos import write_photos
from support.train import small_models

from dfbench import cli
from dfbench.commands.board import Board, LiveBoard
from dfbench.commands.matrix import add_options, part_of, selection, spec_list
from dfbench.config import (
    DataConfig,
    ModelConfig,
    RunConfig,
    ScoringConfig,
    TrainingConfig,
)
from dfbench.errors import UserError
from dfbench.progress import Reporter
from dfbench.results.store import read_card
from dfbench.workflow import matrix
from dfbench.workflow.matrix import FAULTS, Outcome, Plan, cells_of, make_cells
from dfbench.workflow.places import Places
from dfbench.workflow.record import RECORD, read_record

SURVIVE = Plan(survive=True, resume=True)
Events = list[tuple[int, str | None, str, str]]


@pytest.fixture(scope="module", autouse=True)
def _small_models() -> Iterator[None]:
    with small_models():
        yield


@dataclass(frozen=True)
class Made:
    """Two trainings on `mine`, scored on `mine` and `yours`."""

    root: Path
    configs: list[RunConfig]
    places: Places
    outcomes: list[Outcome]
    events: Events

    @property
    def evals(self) -> tuple[str, str]:
        return f"folder:{self.root / 'mine'}", f"folder:{self.root / 'yours'}"


def recorder(events: Events) -> Callable[..., None]:
    return lambda training, spec, status, text="": events.append((training, spec, status, text))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    root = tmp_path_factory.mktemp("matrix")
    mine = write_photos(root / "mine", real=40, fake=40)
    yours = write_photos(root / "yours", real=30, fake=30, seed=1)
    base = RunConfig(
        train=f"folder:{mine}",
        eval=(f"folder:{yours}",),
        model=ModelConfig(name="tiny", dropout=0.0),
        data=DataConfig(detector="none", crop_size=32),
        training=TrainingConfig(epochs=3, batch_size=8),
        scoring=ScoringConfig(batch_size=16, resamples=20),
    )
    configs = [base, replace(base, seed=1)]
    places = Places(data_dir=root / "data", runs_dir=root / "runs", jobs=1)
    events: Events = []
    outcomes = make_cells(configs, places, SURVIVE, watch=recorder(events))
    return Made(root, configs, places, outcomes, events)


def elsewhere(made: Made, tmp_path: Path) -> Places:
    """Return places with the same data and no runs."""
    return replace(made.places, runs_dir=tmp_path / "runs")


def test_all_cells_are_made_in_order(made: Made) -> None:
    assert [(o.training, o.spec, o.end) for o in made.outcomes] == [
        (number, spec, "done") for number in (0, 1) for spec in made.evals
    ]
    for outcome in made.outcomes:
        assert outcome.path is not None
        assert read_card(outcome.path) == outcome.card
        assert not outcome.reused
    last = {(number, spec): status for number, spec, status, _ in made.events}
    assert last == {
        **{(number, None): "trained" for number in (0, 1)},
        **{(number, spec): "done" for number in (0, 1) for spec in made.evals},
    }
    assert made.events[-1][3] == matrix.number_text(made.outcomes[-1].card)


def test_what_is_there_is_neither_trained_nor_scored_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(*args: Any, **options: Any) -> None:
        raise AssertionError

    for name in ("pmap_train_step", "checkpoint.save"):
        monkeypatch.setattr(f"dfbench.train.loop.{name}", forbidden)
    monkeypatch.setattr("dfbench.eval.predict.pmap_predict", forbidden)
    monkeypatch.setattr("dfbench.train.checkpoint.restore", forbidden)
    again = make_cells(made.configs, made.places, Plan())
    assert [replace(o, reused=False) for o in again] == [
        replace(o, reused=False) for o in made.outcomes
    ]


def test_runs_of_an_earlier_day_count_as_used_again(
    made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later:
        UTC = matrix.datetime.UTC

        class datetime(matrix.datetime.datetime):  # noqa: N801
            @classmethod
            def now(cls, tz: Any = None) -> Any:
                return super().now(tz).replace(year=2999)

    monkeypatch.setattr(matrix, "datetime", Later)
    events: Events = []
    again = make_cells(made.configs, made.places, SURVIVE, watch=recorder(events))
    assert all(outcome.reused for outcome in again)
    assert (0, None, "trained", "before") in events


@pytest.fixture(scope="module")
def leaking(made: Made) -> str:
    """A spec whose test clips are all pictures of `mine`, most of them trained on."""
    for kind in ("real", "fake"):
        folder = made.root / "leaking" / "test" / kind
        folder.mkdir(parents=True)
        for file in sorted((made.root / "mine" / kind).iterdir())[:10]:
            shutil.copy(file, folder / f"copy_{file.name}")
    return f"folder:{made.root / 'leaking'}"


def test_a_failing_cell_does_not_stop_the_others(made: Made, leaking: str) -> None:
    missing = f"folder:{made.root / 'nowhere'}"
    config = replace(made.configs[0], eval=(missing, leaking, made.evals[1]))
    events: Events = []
    outcomes = make_cells([config], made.places, SURVIVE, watch=recorder(events))
    assert [outcome.end for outcome in outcomes] == ["done", "failed", "refused", "done"]
    assert "nowhere: no such folder" in outcomes[1].reason
    assert "--allow-leak" in outcomes[2].reason
    assert "\n" not in outcomes[2].reason
    assert (0, missing, "failed", outcomes[1].reason) in events
    assert not (made.places.runs_dir / FAULTS).exists()  # these are the user's
    allowed = make_cells([config], made.places, replace(SURVIVE, allow_leak=True))
    assert [outcome.end for outcome in allowed] == ["done", "failed", "done", "done"]
    assert allowed[2].card is not None
    assert allowed[2].card.audit is not None
    assert allowed[2].card.audit.allowed


def test_without_surviving_the_first_error_stops_before_any_training(
    made: Made, leaking: str, tmp_path: Path
) -> None:
    places = elsewhere(made, tmp_path)
    config = replace(made.configs[0], eval=(leaking,))
    with pytest.raises(UserError, match="--allow-leak"):
        make_cells([made.configs[0], config], places, Plan())
    assert not places.runs_dir.exists()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (MemoryError(), "MemoryError: no message"),
        (RuntimeError("RESOURCE_EXHAUSTED:\nout of memory"), "out of memory"),
        (UserError("the loss is nan at step 3"), "the loss is nan at step 3"),
    ],
)
def test_a_training_that_fails_takes_its_own_cells_alone(
    made: Made,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    reason: str,
) -> None:
    real = matrix.train

    def train(config: RunConfig, places: Places, **options: Any) -> Path:
        if config.seed == 0:
            raise error
        return real(config, made.places, **options)

    monkeypatch.setattr(matrix, "train", train)
    places = elsewhere(made, tmp_path)
    outcomes = make_cells(made.configs, places, SURVIVE)
    assert [outcome.end for outcome in outcomes] == ["failed", "failed", "done", "done"]
    assert reason in outcomes[0].reason
    assert "\n" not in outcomes[0].reason
    log = places.runs_dir / FAULTS
    assert log.exists() == (not isinstance(error, UserError))
    if log.exists():
        assert log.read_text().startswith("tiny, trained on folder:")
        assert "Traceback" in log.read_text()
    with pytest.raises(type(error)):
        make_cells(made.configs, places, Plan())


def test_what_was_cut_off_goes_on(made: Made, tmp_path: Path) -> None:
    """An interrupt in the second epoch of the second training."""
    places = elsewhere(made, tmp_path)

    class Interrupting:
        def __init__(self, title: str, unit: str) -> None:
            self.unit = unit

        def __enter__(self) -> Callable[..., None]:
            return self.step

        def __exit__(self, *error: object) -> None:
            pass

        def step(self, done: int, total: int, note: str = "") -> None:
            runs = list(places.runs_dir.glob("[!.]*"))  # without the lock
            if self.unit == "step" and len(runs) == 2 and done > total // 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make_cells(made.configs, places, SURVIVE, reporter=Reporter(bar=Interrupting))
    assert len(list(places.runs_dir.glob(f"*/{RECORD}"))) == 1
    outcomes = make_cells(made.configs, places, SURVIVE)
    for outcome, whole in zip(outcomes, made.outcomes, strict=True):
        assert outcome.card is not None
        assert whole.card is not None
        assert outcome.card.metrics == whole.card.metrics
    for folder in places.runs_dir.iterdir():
        summary = read_record(made.places.runs_dir / folder.name).summary
        assert read_record(folder).summary.steps == summary.steps


# --- the command ----------------------------------------------------------------------------------


def command(made: Made, *arguments: str) -> int:
    return cli.main(
        [
            *("matrix", "--models", "tiny", "--jobs", "1"),
            *("--data-dir", str(made.places.data_dir), "--runs-dir", str(made.places.runs_dir)),
            *("--set", "data.detector=none", "--set", "data.crop_size=32"),
            *("--set", "training.epochs=3", "--set", "training.batch_size=8"),
            *("--set", "scoring.batch_size=16", "--set", "scoring.resamples=20"),
            *("--set", "model.dropout=0", *arguments),
        ]
    )


def test_the_command_finds_finished_cells_and_ends_with_a_summary(
    made: Made, leaking: str, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, yours = made.evals
    runs = sorted(made.places.runs_dir.glob(f"*/{RECORD}"))
    assert command(made, "--datasets", mine, "--eval", f"{yours},{leaking}", "--seeds", "0,1") == 0
    assert sorted(made.places.runs_dir.glob(f"*/{RECORD}")) == runs
    printed = capsys.readouterr()
    assert "cells: 4 scored" in printed.out
    assert ", 2 refused, 0 failed\n" in printed.out
    assert printed.out.count("--allow-leak") == 1  # a reason once, then its cells
    assert f"  tiny, trained on {mine}, seed 1, scored on {leaking}\n" in printed.out
    assert f"[2/2] tiny, trained on {mine}, seed 1, on {yours}: " in printed.err
    assert f"on {leaking}: refused: " in printed.err


def test_failed_cells_are_listed_with_status_3(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, missing = made.evals[0], f"folder:{made.root / 'no[red]where'}"
    assert command(made, "--datasets", mine, "--eval", missing) == 3
    out = capsys.readouterr().out
    assert ", 0 refused, 1 failed\n" in out
    assert f"seed 0, scored on {missing}" in out


def test_nothing_but_failures_writes_no_page(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    missing = f"folder:{made.root / 'nowhere'}"
    assert command(made, "--datasets", missing, "--runs-dir", str(tmp_path / "none")) == 3
    assert capsys.readouterr().out.startswith("cells: 0 scored")
    assert not (tmp_path / "none").exists()


def test_a_part_makes_its_trainings_and_no_page(
    made: Made, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, yours = made.evals
    chosen = ("--datasets", mine, "--eval", yours, "--seeds", "0,1")
    assert command(made, *chosen, "--part", "2/2") == 0
    printed = capsys.readouterr()
    assert "cells: 2 scored (2 of them before)" in printed.out
    assert "[1/1] " in printed.err
    assert "seed 0" not in printed.err
    assert f"dfbench leaderboard {made.places.runs_dir}" in printed.out
    assert "page: " not in printed.out
    assert command(made, *chosen, "--part", "3/3") == 0
    assert "nothing to do, there are 2 trainings" in capsys.readouterr().out


def test_parts_are_all_trainings_once(made: Made) -> None:
    configs = [replace(made.configs[0], seed=seed) for seed in range(7)]
    for parts in (1, 2, 3, 7, 9):
        taken = [part_of(configs, f"{k + 1}/{parts}") for k in range(parts)]
        assert sorted(c.seed for part in taken for c in part) == list(range(7))
    assert [c.seed for c in part_of(configs, "2/3")] == [1, 4]
    assert len(part_of(configs, None)) == 7


def test_preparing_alone_trains_nothing_and_names_what_failed(
    made: Made, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine, missing = made.evals[0], f"folder:{made.root / 'nowhere'}"
    fresh = ("--runs-dir", str(tmp_path / "runs"), "--data-dir", str(tmp_path / "data"))
    chosen = ("--datasets", mine, "--prepare-only", *fresh)
    assert command(made, *chosen) == 0
    assert f"data of 1 trainings: {tmp_path / 'data'}\n" in capsys.readouterr().out
    assert list(tmp_path.glob("data/tfds/folder/*/*/dfbench.json"))
    assert not (tmp_path / "runs").exists()
    assert command(made, *chosen, "--eval", missing) == 3
    assert "failed: " in (out := capsys.readouterr().out)
    assert "nowhere: no such folder" in out


@pytest.mark.parametrize(
    ("texts", "specs"),
    [
        (["uadfv,celebdf"], ["uadfv", "celebdf"]),
        (["uadfv", "celebdf,uadfv"], ["uadfv", "celebdf"]),
        (["(uadfv,celebdf)"], ["uadfv,celebdf"]),
        (
            ["dfdc,(uadfv,ffpp/c23:Deepfakes+FaceSwap),celebdf"],
            ["dfdc", "uadfv,ffpp/c23:Deepfakes+FaceSwap", "celebdf"],
        ),
        (["(a,b),(c,d)", "e"], ["a,b", "c,d", "e"]),
        (["folder:/x, y (1)/z,uadfv"], ["folder:/x, y (1)/z", "uadfv"]),
        (["(folder:/x(1)/y,uadfv)"], ["folder:/x(1)/y,uadfv"]),
        ([], []),
    ],
)
def test_lists_of_datasets(texts: list[str], specs: list[str]) -> None:
    assert spec_list(texts) == specs


@pytest.mark.parametrize("text", ["(a,b", "(a,b)c", "a,,b", "()", ",a"])
def test_wrong_lists_of_datasets(text: str) -> None:
    with pytest.raises(UserError, match=r"a union is one entry in brackets|entry .* is empty"):
        spec_list([text])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "no datasets: --datasets"),
        (["--datasets", "uadf"], "did you mean 'uadfv'"),
        (["--datasets", "uadfv", "--models", "xcepton"], "did you mean 'xception'"),
        (["--datasets", "uadfv", "--seeds", "0-2"], "'0-2' is no seed"),
        (["--datasets", "uadfv", "--set", "seed=3"], "--set: seed cannot be set"),
        (["--datasets", "uadfv", "--protocol", "demo"], "--datasets and --protocol exclude"),
        (["--protocol", "demo", "--seeds", "1"], "--seeds and --protocol exclude"),
        (["--protocol", "demo", "--degrade", "jpeg:50"], "--degrade and --protocol exclude"),
        (["--datasets", "uadfv", "--degrade", "jpg:50"], "jpg"),
        (["--protocol", "demo", "--part", "0/2"], "'0/2' is no part K/N"),
        (["--protocol", "demo", "--part", "3/2"], "'3/2' is no part K/N"),
        (["--protocol", "demo", "--part", "2"], "such as 1/4"),
    ],
)
def test_wrong_input_is_one_line_and_status_2(
    arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["matrix", *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_degraded_crops_are_scored_beside_the_clean_ones() -> None:
    parser = argparse.ArgumentParser()
    add_options(parser)
    args = parser.parse_args(["--datasets", "uadfv,celebdf", "--degrade", "jpeg:90+50,blur:2"])
    configs = selection(args).configs
    assert [config.degrade for config in configs] == 2 * [("jpeg:90", "jpeg:50", "blur:2")]
    assert cells_of(configs[0])[:2] == ("uadfv", "uadfv@jpeg:90")


# --- the board ------------------------------------------------------------------------------------


def play(board: Board) -> None:
    """Two trainings: one goes well, one fails."""
    board(0, None, "checking")
    board(0, None, "training")
    with board.reporter.bar("training", "step") as progress:
        for step in range(1, 7):
            progress(step, 6, "loss 0.5")
    board(0, None, "trained", "")
    board(0, "a", "scoring")
    board(0, "a", "done", "0.812 [0.700, 0.900]")
    board(1, None, "failed", "no [bold]memory[/]\x1b[31m")
    board(1, "a", "failed", "no [bold]memory[/]\x1b[31m")
    board.reporter.say("reusing prepared a")
    board.reporter.say("warning: no detector")
    board.reporter.say("warning: no detector")


CONFIGS = [RunConfig(train="a", seed=seed, training=TrainingConfig(epochs=3)) for seed in range(40)]


def test_elsewhere_than_on_a_terminal_each_change_is_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    play(Board(CONFIGS[:2]))
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] meso4, trained on a, seed 0: training epoch 1/3",
        "[1/2] meso4, trained on a, seed 0: training epoch 2/3",
        "[1/2] meso4, trained on a, seed 0: training epoch 3/3",
        "[1/2] meso4, trained on a, seed 0: trained",
        "[1/2] meso4, trained on a, seed 0, on a: 0.812 [0.700, 0.900]",
        r"[2/2] meso4, trained on a, seed 1: failed: no [bold]memory[/]\x1b[31m",
        "warning: no detector",
    ]


def test_on_a_terminal_it_is_one_table() -> None:
    console = Console(file=io.StringIO(), width=100, height=20)
    board = LiveBoard(CONFIGS, console)
    play(board)
    console.print(board.render())
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "0.812 [0.700, 0.900]" in text
    assert r"failed: no [bold]memo" in text
    assert "\x1b" not in text
    assert "2 of 40 cells, 1 failed" in text
    assert "28 trainings not shown" in text
    assert text.count("warning: no detector") == 1
    board(35, None, "training")
    assert 35 in board._window()
