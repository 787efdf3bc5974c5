"""The detector that predicts: a run, or the run that a result card was made with. No JAX here."""

from __future__ import annotations

import contextlib
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import msgspec

from dfbench.config import RunConfig, from_dict, read_toml, setting_names, to_dict
from dfbench.errors import UserError
from dfbench.faces.clip import CropRecipe
from dfbench.results.card import Calibration, DatasetFingerprint, FileHash, ResultCard
from dfbench.results.store import SUFFIX, hash_folder, read_card
from dfbench.workflow.record import RECORD, read_record

CONFIG = "config.toml"  # of a run; dfbench.workflow.training would bring JAX
CHECKPOINT = Path("checkpoints") / "best"
FIXED = 0.5  # threshold where none was chosen


@dataclass(frozen=True, kw_only=True)
class TrainedDetector:
    """A finished training, and how its crops were cut."""

    run: Path
    config: RunConfig
    checkpoint: FileHash
    recipe: CropRecipe
    threshold: float  # of P(fake)
    threshold_from: str
    temperature: float | None
    notes: tuple[str, ...] = ()


def find_detector(path: Path, runs_dir: Path) -> TrainedDetector:
    """Return the detector that a path means.

    Args:
      path: A run's folder; or a result card, or a folder of cards of one training, such as an entry
        of the leaderboard: of these the run that they name must be on this machine.
      runs_dir: Where that run is looked for.

    Raises:
      UserError: None of these, or a checkpoint that is not there, or not the one of the card.
    """
    if path.name == CHECKPOINT.name and path.parent.name == CHECKPOINT.parent.name:
        path = path.parent.parent
    if path.is_file() and path.name.endswith(SUFFIX):
        return _of_card(path, runs_dir)
    if not path.is_dir():
        what = "neither a run's folder nor a result card" if path.exists() else "no such run"
        raise UserError(
            f"{path}: {what}; --checkpoint takes the folder of a finished training "
            f"(`dfbench train` prints it) or a card (*{SUFFIX})"
        )
    if (path / RECORD).is_file() or (path / CONFIG).is_file():
        return _of_run(path)
    return _of_card(_one_card(path), runs_dir)


def _one_card(folder: Path) -> Path:
    """Return a card of the only training whose cards are below a folder."""
    found = [path for path in sorted(folder.rglob(f"*{SUFFIX}")) if path.name[0] != "."]
    if not found:
        raise UserError(f"{folder}: no finished training here ({RECORD} is missing), and no card")
    trainings = {read_card(path).training_hash for path in found}
    if len(trainings) > 1:
        raise UserError(f"{folder}: {len(trainings)} trainings; name the folder of one of them")
    return found[0]


def _of_card(path: Path, runs_dir: Path) -> TrainedDetector:
    card = read_card(path)
    wanted = card.files.get("checkpoint")
    if card.origin == "scores" or wanted is None:
        raise UserError(f"{path}: made from scores that were handed in; it has no checkpoint")
    for run in _runs(path, runs_dir):
        if _checkpoint(run) == wanted:
            found = _of_run(run, card)
            if found.checkpoint != wanted:
                raise UserError(_changed(run, path))
            return found
    raise UserError(
        f"{path}: its checkpoint ({wanted.sha256[:12]}...) is in no run below {runs_dir} (another "
        f"place: --runs-dir); train it again, and name that run: {training_command(path, card)}"
    )


def _runs(card: Path, runs_dir: Path) -> Iterator[Path]:
    """Yield finished trainings, first the one that a card lies in: RUN/evals/DATASET/CARD."""
    around = [*card.resolve().parents][2:3]
    below = sorted(runs_dir.iterdir()) if runs_dir.is_dir() else []
    for folder in (*around, *below):
        if (folder / RECORD).is_file():
            yield folder


def _checkpoint(run: Path) -> FileHash | None:
    with contextlib.suppress(UserError):  # a damaged record is not what is looked for
        return read_record(run).checkpoint
    return None


def _changed(run: Path, card: Path) -> str:
    return (
        f"{run / CHECKPOINT}: not the checkpoint that {card.name} was made with, though the run's "
        f"{RECORD} says so: the files were changed; train again with --overwrite"
    )


def _of_run(run: Path, card: ResultCard | None = None) -> TrainedDetector:
    record, config = read_record(run), read_toml(run / CONFIG)
    if not (run / CHECKPOINT).is_dir():
        raise UserError(f"{run / CHECKPOINT}: no such checkpoint; train again with --overwrite")
    recipe, notes = _recipe(run, record.datasets)
    calibration = _calibration(run, record.checkpoint, card)
    threshold = calibration.threshold if calibration else None
    source = f"the val split of {config.train}"
    if threshold is None:
        why = f": {calibration.reason}" if calibration else ""
        says = f"none was chosen on {source}{why or ' (`dfbench eval` does that)'}"
    else:
        says = f"chosen on {source}"
    return TrainedDetector(
        run=run,
        config=config,
        checkpoint=hash_folder(run / CHECKPOINT),
        recipe=recipe,
        threshold=FIXED if threshold is None else threshold,
        threshold_from=says,
        temperature=calibration.temperature if calibration else None,
        notes=notes,
    )


def _recipe(
    run: Path, datasets: Sequence[DatasetFingerprint]
) -> tuple[CropRecipe, tuple[str, ...]]:
    """Return how the crops of a training were cut, and what is to be said of it."""
    try:
        recipes = [
            _of_one_frame(msgspec.convert(dataset.recipe, CropRecipe)) for dataset in datasets
        ]
    except msgspec.ValidationError as error:
        raise UserError(f"{run / RECORD}: {error}; train again with --overwrite") from error
    notes: tuple[str, ...] = ()
    if any(recipe != recipes[0] for recipe in recipes):
        notes = (
            f"the training datasets are cut in several ways; files are as {datasets[0].name} is",
        )
    return recipes[0], notes


def _of_one_frame(recipe: CropRecipe) -> CropRecipe:
    """Leave out which frames and whose boxes: of a recipe, what becomes of one frame."""
    plain = CropRecipe()
    return replace(
        recipe,
        frames=plain.frames,
        policy=plain.policy,
        real_oversample=1,
        boxes="own",
        split_by=plain.split_by,
        split_shares=plain.split_shares,
    )


def _calibration(run: Path, checkpoint: FileHash, card: ResultCard | None) -> Calibration | None:
    """Return what was chosen on source val: by any card of this checkpoint, they share it."""
    if card is not None and card.calibration is not None:
        return card.calibration
    for path in sorted(run.glob(f"evals/*/*{SUFFIX}")):
        with contextlib.suppress(UserError):
            found = read_card(path)
            if found.files.get("checkpoint") == checkpoint and found.calibration is not None:
                return found.calibration
    return None


# --- how to train it again ------------------------------------------------------------------------


def training_command(path: Path, card: ResultCard) -> str:
    """Return the command that trains what a card was made with, for a shell.

    Raises:
      UserError: The card's configuration is none of this version.
    """
    config = from_dict(card.config, str(path))
    words = ["dfbench", "train", "--train", config.train, "--model", config.model.name]
    words += ["--seed", str(config.seed)]
    own, default = to_dict(config), to_dict(RunConfig())
    for name in setting_names():
        value = _at(own, name)
        said = name in ("train", "eval", "degrade", "seed", "model.name")
        if not said and value is not None and value != _at(default, name):
            words += ["--set", f"{name}={_toml(value)}"]
    return shlex.join(words)


def _at(values: Any, name: str) -> Any:
    for part in name.split("."):
        values = values.get(part) if isinstance(values, Mapping) else None
    return values


def _toml(value: Any) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_toml(k)} = {_toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)
