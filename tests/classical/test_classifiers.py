from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import ParameterGrid

from dfbench.classical.catalog import Family
from dfbench.classical.classifiers import TREES, logits_of, make_grid, make_pipeline

FAMILIES: tuple[Family, ...] = tuple(f for f in get_args(Family) if f != "always_fake")


def _planted(n: int = 120) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % 2
    values = rng.normal(size=(n, 6)).astype(np.float32)
    values[:, 2] += 3 * labels
    return values, labels


def test_the_baseline_ranks_nothing() -> None:
    values, labels = _planted()
    pipeline = clone(make_pipeline("always_fake", seed=0)).fit(values, labels)
    assert set(logits_of(pipeline, values).tolist()) == {36.0}
    assert make_grid("always_fake", coarse=False, pca=False) == {"pca": ["passthrough"]}


@pytest.mark.parametrize("family", FAMILIES)
def test_every_classifier_learns_and_its_score_rises_with_fake(family: Family) -> None:
    values, labels = _planted()
    pipeline = clone(make_pipeline(family, seed=0)).fit(values[:80], labels[:80])
    logits = logits_of(pipeline, values[80:])
    assert logits.dtype == np.float32
    assert np.isfinite(logits).all()
    assert roc_auc_score(labels[80:], logits) > 0.85
    called = pipeline.predict(values[80:])
    assert np.mean(called == (logits > 0)) > 0.9  # the sign is the classifier's own decision


@pytest.mark.parametrize("family", FAMILIES)
def test_every_choice_of_the_grid_fits_the_pipeline(family: Family) -> None:
    for coarse in (False, True):
        pipeline = make_pipeline(family, seed=0)
        for setting in ParameterGrid(dict(make_grid(family, coarse=coarse, pca=True))):
            pipeline.set_params(**setting)


def test_the_grids_hold_what_the_report_says() -> None:
    linear = make_grid("svm_linear", coarse=False, pca=True)
    assert len(linear["classifier__C"]) == 40
    assert linear["classifier__C"][0] == pytest.approx(1e-3)
    assert linear["classifier__C"][-1] == pytest.approx(1e3)
    assert [p if p == "passthrough" else p.n_components for p in linear["pca"]] == [
        "passthrough",
        0.90,
        0.95,
        0.99,
    ]
    rbf = make_grid("svm_rbf", coarse=False, pca=False)
    assert rbf["pca"] == ["passthrough"]
    for name, value in (("C", 1.6681), ("C", 4.6415), ("gamma", 0.0167)):
        assert np.isclose(rbf[f"classifier__{name}"], value, rtol=5e-3).any()
    mlp = make_grid("mlp", coarse=False, pca=False)
    assert mlp["classifier__hidden_layer_sizes"] == [(50,), (100,), (50, 50), (100, 100)]
    assert np.isclose(mlp["classifier__alpha"], 0.2154, rtol=1e-3).any()
    assert make_grid("forest", coarse=False, pca=False)["classifier__n_estimators"] == [TREES]


def test_a_forest_without_a_doubt_has_a_finite_score() -> None:
    values = np.repeat([[0.0], [10.0]], 50, axis=0)
    labels = np.repeat([0, 1], 50)
    forest = make_pipeline("forest", seed=0).fit(values, labels)
    assert logits_of(forest, values[-1:]) == pytest.approx(np.log(TREES + 0.5) - np.log(0.5))
