"""The grid search: every parameter of every classifier, scored on the same folds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import joblib
import numpy as np
from jaxtyping import Float32, Float64, Int32
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import GridSearchCV, ParameterGrid
from sklearn.pipeline import Pipeline

from dfbench.classical.catalog import Family
from dfbench.classical.classifiers import Grid, make_grid, make_pipeline
from dfbench.classical.folds import Fold
from dfbench.progress import SILENT, Reporter

_BATCH = 8  # candidates a process, between two moves of the bar


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One choice of parameters, and its AUC on each fold."""

    family: Family
    pca: float | None  # share of variance that is kept; None: without PCA
    parameters: dict[str, Any]
    aucs: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the folds."""
        return float(np.mean(self.aucs))

    @property
    def spread(self) -> float:
        """Standard deviation over the folds."""
        return float(np.std(self.aucs, ddof=1))


@dataclass(frozen=True)
class Found:
    """What a search came to."""

    candidates: tuple[Candidate, ...]  # in the order of the grids
    best: Candidate  # the highest mean AUC; of equal ones the first
    pipeline: Pipeline  # with its parameters, fitted to all crops
    fits: int
    note: str  # what went wrong with the last fit; empty: nothing


def search(
    families: Sequence[Family],
    values: Float32[np.ndarray, "n features"],
    labels: Int32[np.ndarray, " n"],
    folds: Sequence[Fold],
    *,
    weights: Float64[np.ndarray, " n"] | None = None,
    pca: bool = True,
    coarse: bool = False,
    seed: int = 0,
    jobs: int = 0,
    reporter: Reporter = SILENT,
) -> Found:
    """Try every classifier and parameter, and fit the best to all crops.

    Args:
      families: Kinds of classifier.
      values: Features of the crops.
      labels: 1 fake.
      folds: Shared by all.
      weights: Of the crops in training, not in the AUC; None: alike.
      pca: Try it.
      coarse: Try few parameters.
      seed: Of what is random in a classifier.
      jobs: Processes; 0: one a core.
      reporter: Where progress is told.
    """
    processes = jobs or joblib.cpu_count()
    grids = {family: make_grid(family, coarse=coarse, pca=pca) for family in families}
    total = sum(len(ParameterGrid(dict(grid))) for grid in grids.values())
    candidates: list[Candidate] = []
    settings: list[dict[str, Any]] = []
    fit = {} if weights is None else {"classifier__sample_weight": weights}
    with reporter.bar("choosing parameters", "choice") as progress:
        for family, grid in grids.items():
            pipeline = make_pipeline(family, seed)
            for batch in _batches(grid, _BATCH * processes):
                searched = GridSearchCV(
                    pipeline,
                    [{name: [value] for name, value in one.items()} for one in batch],
                    scoring="roc_auc",
                    cv=folds,
                    refit=False,
                    n_jobs=processes,
                    error_score="raise",
                )
                with warnings.catch_warnings():
                    # Of the one that is chosen it is said.
                    warnings.simplefilter("ignore", ConvergenceWarning)
                    searched.fit(values, labels, **fit)
                results = searched.cv_results_
                aucs = np.column_stack([results[f"split{k}_test_score"] for k in range(len(folds))])
                candidates += [
                    _candidate(family, c, row) for c, row in zip(batch, aucs, strict=True)
                ]
                settings += batch
                progress(len(candidates), total)
    number = int(np.argmax([candidate.mean for candidate in candidates]))
    best = candidates[number]
    chosen = make_pipeline(best.family, seed, processes)
    chosen.set_params(**{k: clone(v, safe=False) for k, v in settings[number].items()})
    note = _fit(chosen, values, labels, fit)
    if best.family == "forest":
        chosen.set_params(classifier__n_jobs=None)  # the cores here say nothing of those elsewhere
    return Found(tuple(candidates), best, chosen, len(candidates) * len(folds) + 1, note)


def _batches(grid: Grid, size: int) -> list[list[dict[str, Any]]]:
    every = list(ParameterGrid(dict(grid)))
    return [every[start : start + size] for start in range(0, len(every), size)]


def _candidate(family: Family, setting: dict[str, Any], aucs: np.ndarray) -> Candidate:
    reduction = setting["pca"]
    parameters = {
        name.removeprefix("classifier__"): value for name, value in setting.items() if name != "pca"
    }
    return Candidate(
        family=family,
        pca=None if reduction == "passthrough" else float(reduction.n_components),
        parameters=parameters,
        aucs=tuple(float(auc) for auc in aucs),
    )


def _fit(
    pipeline: Pipeline, values: np.ndarray, labels: np.ndarray, arguments: dict[str, Any]
) -> str:
    """Fit, and return what it warned of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", ConvergenceWarning)
        pipeline.fit(values, labels, **arguments)
    return "; ".join(
        " ".join(str(w.message).split()) for w in caught if w.category is ConvergenceWarning
    )
