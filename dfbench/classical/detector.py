"""A fitted classical model, on disk without pickle."""

from __future__ import annotations

import importlib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import sklearn
from jaxtyping import Float32
from sklearn.pipeline import Pipeline

from dfbench.classical.catalog import Family, require
from dfbench.classical.classifiers import logits_of
from dfbench.classical.features import FeatureRecipe, Features
from dfbench.classical.sift import BagOfWords
from dfbench.errors import UserError
from dfbench.files import decode_json, whole, write_json

PIPELINE = "pipeline.skops"
FACTS = "detector.json"
# What a file may hold besides the types of scikit-learn and NumPy that skops knows to be harmless.
TRUSTED = (
    f"{BagOfWords.__module__}.{BagOfWords.__qualname__}",
    "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
    "sklearn.tree._tree.Tree",  # arrays of numbers, looked through below
)


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What belongs to a fitted pipeline."""

    model: str
    family: Family
    recipe: FeatureRecipe  # of the crops that are scored
    scikit_learn: str  # version


@dataclass(frozen=True, eq=False)
class Detector:
    """Features to logits."""

    facts: Facts
    pipeline: Pipeline  # begins with the bag of words, for SIFT

    def logits(self, features: Features) -> Float32[np.ndarray, " n"]:
        """Return one logit a crop."""
        ragged = self.facts.recipe.name == "sift"
        return logits_of(self.pipeline, features.ragged() if ragged else features.matrix())


def save(detector: Detector, folder: Path) -> None:
    """Write a detector that `load` reads back."""
    with whole(folder / PIPELINE) as unfinished:
        _skops().dump(detector.pipeline, unfinished, compression=zipfile.ZIP_DEFLATED)
    write_json(folder / FACTS, detector.facts)


def load(folder: Path) -> Detector:
    """Read a detector; a file with types that it has no use for is refused before they are made.

    Raises:
      UserError: no such files, damaged ones, or ones that hold what they should not.
    """
    path = folder / FACTS
    try:
        facts = decode_json(path.read_bytes(), Facts)
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: {error}; train again with --overwrite") from error
    require("skops", facts.model)
    io, path = _skops(), folder / PIPELINE
    try:
        strangers = sorted(set(io.get_untrusted_types(file=path)) - set(TRUSTED))
        if strangers:
            raise UserError(f"{path}: holds {strangers[0]}, which no classical model does")
        pipeline = io.load(path, trusted=list(TRUSTED))
    except UserError:
        raise
    except Exception as error:  # of a damaged file: skops lets through whatever goes wrong
        raise UserError(
            f"{path}: cannot be read with scikit-learn {sklearn.__version__} ({error}); it was "
            f"written with {facts.scikit_learn}: train again with --overwrite"
        ) from error
    if not isinstance(pipeline, Pipeline) or not _sound(pipeline):
        raise UserError(
            f"{path}: holds no pipeline that dfbench wrote; train again with --overwrite"
        )
    return Detector(facts, pipeline)


def _sound(pipeline: Pipeline) -> bool:
    """Tell whether the trees of a forest lead on and on to a leaf: nothing in them checks that."""
    for tree in getattr(pipeline[-1], "estimators_", ()):
        nodes, parents = tree.tree_, np.arange(tree.tree_.node_count)
        for children in (nodes.children_left, nodes.children_right):
            if len(children) != len(parents):
                return False
            inner = children != -1
            if (children[inner] <= parents[inner]).any() or (children >= len(parents)).any():
                return False
            if ((nodes.feature < 0) & inner).any() or (nodes.feature >= nodes.n_features).any():
                return False
    return True


def _skops() -> Any:
    return importlib.import_module("skops.io")  # of the extra `classical`
