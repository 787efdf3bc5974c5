"""Runs in object storage: fetched before they are used, sent as they come along.

Without a place in object storage each of these does nothing. Of several processes the first one
sends, and then the others, which may be on other machines, fetch what it has sent.
"""

from __future__ import annotations

from pathlib import Path

from dfbench.errors import UserError
from dfbench.processes import first_before_others, is_first
from dfbench.progress import Reporter
from dfbench.results.store import SUFFIX
from dfbench.storage.kinds import Kind
from dfbench.storage.mirror import Mirror, Wanted
from dfbench.workflow.places import Places
from dfbench.workflow.record import RECORD

CHECKPOINTS = "checkpoints"
BEST = f"{CHECKPOINTS}/best"  # dfbench.train.checkpoint would bring JAX
RUN = Kind(
    marker=RECORD,
    whole=CHECKPOINTS,
    besides=("evals/*", "report/*", f"{CHECKPOINTS}/*.new/*", f"{CHECKPOINTS}/*.old/*"),
)
EVALUATION = Kind(marker=f"*{SUFFIX}", besides=("report/*",))


def fetch_run(
    places: Places, run_dir: Path, reporter: Reporter, *, to_resume: bool = False
) -> None:
    """Fetch a run without its checkpoints; with them, where it is to be gone on with.

    Raises:
      UserError: the place cannot be read.
    """
    if mirror := _mirror(places, run_dir, reporter):
        unit = mirror.stage.unit(run_dir)
        mirror.pull(unit, RUN, is_small)
        if to_resume and not (run_dir / RECORD).is_file():
            mirror.pull(unit, RUN)


def fetch_best(places: Places, run_dir: Path, reporter: Reporter) -> None:
    """Fetch the checkpoint that scores, and what comes with it."""
    if mirror := _mirror(places, run_dir, reporter):
        mirror.pull(mirror.stage.unit(run_dir), RUN, lambda piece: piece == BEST or is_small(piece))


def fetch_checkpoints(places: Places, run_dir: Path, reporter: Reporter) -> None:
    """Fetch all checkpoints of a run, those of single epochs too."""
    if mirror := _mirror(places, run_dir, reporter):
        mirror.pull(mirror.stage.unit(run_dir), RUN)


def fetch_evaluation(places: Places, folder: Path, reporter: Reporter) -> None:
    """Fetch a card and its scores, where they are there."""
    if mirror := _mirror(places, folder, reporter):
        mirror.pull(mirror.stage.unit(folder), EVALUATION)


def keep_checkpoint(places: Places, run_dir: Path, reporter: Reporter) -> None:
    """Send an unfinished run; that it cannot be sent does not end the training."""
    # The bar of the training is drawn meanwhile: there is no place for another.
    mirror = _mirror(places, run_dir, Reporter(say=reporter.say))
    if mirror is None:
        return
    unit = mirror.stage.unit(run_dir)

    def keep() -> None:
        if not is_first():
            mirror.pull(unit, RUN, lambda piece: piece == BEST)
            return
        try:
            mirror.push(unit, RUN)
        except UserError as error:
            reporter.say(f"warning: {error}; the training goes on, the next checkpoint is sent")

    first_before_others(keep)


def keep_run(places: Places, run_dir: Path, reporter: Reporter) -> None:
    """Send a run.

    Raises:
      UserError: the place cannot be written.
    """
    _keep(places, run_dir, RUN, is_small, reporter)


def keep_evaluation(places: Places, folder: Path, reporter: Reporter) -> None:
    """Send a card and its scores.

    Raises:
      UserError: the place cannot be written.
    """
    _keep(places, folder, EVALUATION, lambda piece: True, reporter)


def _keep(places: Places, folder: Path, kind: Kind, wanted: Wanted, reporter: Reporter) -> None:
    mirror = _mirror(places, folder, reporter)
    if mirror is None:
        return
    unit = mirror.stage.unit(folder)

    def keep() -> None:
        if not is_first():
            mirror.pull(unit, kind, wanted)
            return
        try:
            mirror.push(unit, kind)
        except UserError as error:
            raise UserError(f"{error}; what was made is kept in {mirror.stage.home}") from error

    first_before_others(keep)


def drop_run(places: Places, run_dir: Path, reporter: Reporter) -> None:
    """Delete a run and its evaluations there; to be called by the first process."""
    if mirror := _mirror(places, run_dir, reporter):
        mirror.drop(mirror.stage.unit(run_dir))


def drop_epochs(places: Places, run_dir: Path, reporter: Reporter) -> None:
    """Delete the checkpoints of single epochs there; to be called by the first process."""
    if mirror := _mirror(places, run_dir, reporter):
        unit, prefix = mirror.stage.unit(run_dir), f"{CHECKPOINTS}/epoch-"
        mirror.forget(unit, RUN, lambda piece: piece.startswith(prefix))


def is_small(piece: str) -> bool:
    """Tell whether a piece of a run is something else than a checkpoint."""
    return not piece.startswith(f"{CHECKPOINTS}/")


def _mirror(places: Places, folder: Path, reporter: Reporter) -> Mirror | None:
    """Return the mirror that a folder belongs to; a run may also lie elsewhere on this machine."""
    mirror = places.runs_mirror
    if mirror is None or not folder.is_relative_to(mirror.stage.files):
        return None
    return mirror.tell(reporter)
