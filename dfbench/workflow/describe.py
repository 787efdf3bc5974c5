"""What makes one vector of a crop: its Harris corners, or a network."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from dfbench.config import ModelConfig, RunConfig, needs_before, read_toml
from dfbench.data.index import indexed_vectors
from dfbench.data.nearest import Vectors
from dfbench.data.pipeline import Batch, eval_batches
from dfbench.data.view import SplitView
from dfbench.errors import UserError
from dfbench.faces import harris
from dfbench.faces.crop import cut, inner_square, resize
from dfbench.progress import SILENT, Progress, Reporter

HARRIS = "harris"
BATCH = 64  # crops


@dataclass(frozen=True, kw_only=True, eq=False)
class Describer:
    """Makes a vector of each crop.

    Attributes:
      name: for people, and of files.
      recipe: all that decides the vectors, beside the crops: plain values.
      call: takes batches, how many crops they hold and where progress is told; returns a row a
        crop, by its `index`.
      batch_size: of these batches.
    """

    name: str
    recipe: dict[str, Any]
    call: Callable[[Iterable[Batch], int, Progress | None], Vectors]
    batch_size: int = BATCH

    def of_view(self, view: SplitView, data_dir: Path, reporter: Reporter = SILENT) -> Vectors:
        """Return the vectors of a split's crops; they are kept in files (`data.index`).

        Raises:
          OSError: a file cannot be written.
        """

        def make(view: SplitView, title: str) -> Vectors:
            batches = eval_batches(view, batch_size=self.batch_size)
            with reporter.bar(title, "crop") as progress:
                return self.call(batches, len(view), progress)

        return indexed_vectors(
            view, self.name, self.recipe, make, data_dir=data_dir, reporter=reporter
        )

    def of_images(self, images: Sequence[UInt8[np.ndarray, "h w 3"]], side: int) -> Vectors:
        """Return the vectors of pictures, of which the middle square is scaled to `side` px."""
        squares = [resize(cut(image, inner_square(*image.shape[:2])), side) for image in images]

        def batches() -> Iterable[Batch]:
            for start in range(0, len(squares), self.batch_size):
                part = np.stack(squares[start : start + self.batch_size])
                rows = np.arange(start, start + len(part), dtype=np.int32)
                yield {"image": part, "index": rows, "mask": np.ones(len(part), np.float32)}

        return self.call(batches(), len(squares), None)


def harris_describer(jobs: int = 0) -> Describer:
    """Return what describes crops by their corners (`dfbench.faces.harris`), in `jobs` threads."""

    def call(batches: Iterable[Batch], n: int, progress: Progress | None) -> Vectors:
        vectors = np.zeros((n, harris.LENGTH), np.float32)
        done = 0
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:  # OpenCV works without Python
            for batch in batches:
                real = np.asarray(batch["mask"]) > 0
                vectors[batch["index"][real]] = list(
                    pool.map(harris.corner_vector, batch["image"][real])
                )
                done += int(real.sum())
                if progress is not None:
                    progress(done, n)
        return vectors

    return Describer(name=HARRIS, recipe=dict(harris.RECIPE), call=call)


def find_describer(
    by: str = HARRIS,
    init: str | None = None,
    run_dir: Path | None = None,
    *,
    jobs: int = 0,
    reporter: Reporter = SILENT,
) -> Describer:
    """Return what describes crops.

    Args:
      by: "harris", or the name of a network.
      init: weights of that network: "imagenet" or a file; None: "imagenet".
      run_dir: a finished training, whose network is taken in the place of `by`.
      jobs: threads that look for corners; 0: one a core.
      reporter: where downloads are told.

    Raises:
      UserError: no such network, weights or training, or one that cannot describe single crops.
    """
    if run_dir is not None:
        return run_describer(run_dir)
    if by != HARRIS:
        return model_describer(by, init, reporter)
    if init is not None:
        raise UserError("weights belong to a network: name one with --by, not harris")
    return harris_describer(jobs)


def run_describer(run_dir: Path) -> Describer:
    """Return the network of a finished training, at what its head takes.

    Raises:
      UserError: there is no finished training, or it has no network.
    """
    from dfbench.classical.catalog import is_classical
    from dfbench.train import checkpoint
    from dfbench.train.state import abstract_state
    from dfbench.workflow.record import read_record
    from dfbench.workflow.training import CONFIG

    record = read_record(run_dir)
    config = read_toml(run_dir / CONFIG)
    name = config.model.name
    if is_classical(name):
        raise UserError(f"{run_dir}: '{name}' has no network; name a run that has one")

    def load() -> Any:
        like = abstract_state(config, optimizer=False)
        return checkpoint.restore(run_dir, checkpoint.BEST, like).state

    recipe = {"training": record.training_hash, "checkpoint": record.checkpoint.sha256}
    return _network_describer(config, name, recipe, load)


def model_describer(name: str, init: str | None, reporter: Reporter = SILENT) -> Describer:
    """Return a network with imported weights, at what its head takes.

    Raises:
      UserError: there is no such network, or no such weights.
    """
    import jax

    from dfbench.models.registry import check_name
    from dfbench.models.weights.catalog import available
    from dfbench.train.state import abstract_state
    from dfbench.workflow.initial import starting_weights

    check_name(name, others=(HARRIS,))
    if init is None and "imagenet" not in available(name):
        raise UserError(
            f"'{name}' has no weights that can be fetched: give some with --init FILE, or name a "
            "finished training with --checkpoint RUN"
        )
    config = RunConfig(model=ModelConfig(name=name, init=init or "imagenet"))
    start = starting_weights(config.model, reporter)
    assert start is not None
    file = start.file.sha256 if start.file else "keras"

    def load() -> Any:
        # All but the head is replaced, and that is not asked: nothing need be drawn for it.
        like = abstract_state(config, optimizer=False)
        return start.apply(jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), like))

    return _network_describer(config, name, {"model": name, "weights": file}, load)


def _network_describer(
    config: RunConfig, name: str, recipe: dict[str, Any], load: Callable[[], Any]
) -> Describer:
    if needs_before(config.model):
        raise UserError(
            f"{name} compares each crop with the frame before it, which a picture does not have; "
            "take a network whose model.input is rgb or srm"
        )

    @functools.cache
    def networks() -> Any:  # when something is described: an index that is there needs none
        from dfbench.train.state import build_networks

        return load(), build_networks(config)

    def call(batches: Iterable[Batch], n: int, progress: Progress | None) -> Vectors:
        from dfbench.eval.predict import features

        state, built = networks()
        return np.asarray(features(state, built, batches, n, progress=progress), np.float32)

    return Describer(
        name=name,
        recipe=recipe,
        call=call,
        batch_size=config.scoring.batch_size,
    )
