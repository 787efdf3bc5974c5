"""The classifiers of the reports, and the parameters that are tried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Float32
from sklearn.decomposition import PCA
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, LinearSVC

from dfbench.classical.catalog import Family
from dfbench.faces.clip import FAKE

TREES = 500
_LARGEST = 36.0  # log-odds, about as far as a probability in float64 tells from 0 and 1

Grid = Mapping[str, Sequence[Any]]


def make_pipeline(family: Family, seed: int, jobs: int | None = None) -> Pipeline:
    """Return a classifier behind standardisation and, as a parameter, PCA; not fitted."""
    makers = {
        "svm_rbf": lambda: SVC(kernel="rbf", cache_size=500),
        "svm_linear": lambda: LinearSVC(dual=False, max_iter=5000, random_state=seed),
        "mlp": lambda: MLPClassifier(max_iter=1000, random_state=seed),
        "logistic": lambda: LogisticRegression(max_iter=5000),
        "forest": lambda: RandomForestClassifier(TREES, random_state=seed, n_jobs=jobs),
        "always_fake": lambda: DummyClassifier(strategy="constant", constant=FAKE),
    }
    steps = [("scale", StandardScaler()), ("pca", "passthrough"), ("classifier", makers[family]())]
    return Pipeline(steps)


def make_grid(family: Family, *, coarse: bool, pca: bool) -> Grid:
    """Return what is tried, by the names of the pipeline's parameters.

    The linear SVM's and the logistic regression's C, the MLP's layers and the shares of variance
    are as the report of the UADFV lab says; of the others it prints best values only, and the grids
    are some that contain these. `coarse` is for trials.
    """
    # Plain numbers, which are written into files.
    wide = np.logspace(-3, 3, 3 if coarse else 40).tolist()
    ninths = np.logspace(-2, 2, 3 if coarse else 10).tolist()
    grids: dict[Family, dict[str, Sequence[Any]]] = {
        "svm_rbf": {"C": ninths, "gamma": np.logspace(-4, 0, 3 if coarse else 10).tolist()},
        "svm_linear": {"C": wide},
        "mlp": {
            "hidden_layer_sizes": [(50,)] if coarse else [(50,), (100,), (50, 50), (100, 100)],
            "alpha": np.logspace(-4, 0, 2 if coarse else 7).tolist(),
        },
        "logistic": {"C": wide},
        "forest": {"n_estimators": [TREES]},
        "always_fake": {},
    }
    grid = {f"classifier__{name}": values for name, values in grids[family].items()}
    if not pca:
        return {"pca": ["passthrough"], **grid}
    shares = (0.95,) if coarse else (0.90, 0.95, 0.99)
    reductions = [PCA(n_components=share, svd_solver="full") for share in shares]
    return {"pca": ["passthrough", *reductions], **grid}


def logits_of(
    pipeline: Pipeline, values: Float[np.ndarray, "n features"] | Sequence[np.ndarray]
) -> Float32[np.ndarray, " n"]:
    """Return a score that rises with P(fake): the decision function, else the log-odds.

    The log-odds of logistic regression and MLP are those of their P(fake). An SVM's decision
    function is a distance to its margin, whose sigmoid is no probability until it is divided by the
    temperature of the source's val split. A forest's share of trees is counted as if half a tree
    more had voted for each class, so that the log-odds are finite.
    """
    if hasattr(pipeline, "decision_function"):
        return np.asarray(pipeline.decision_function(values), np.float32)
    p = pipeline.predict_proba(values)[:, 1]
    classifier = pipeline[-1]
    if isinstance(classifier, RandomForestClassifier):
        p = (p * classifier.n_estimators + 0.5) / (classifier.n_estimators + 1)
    with np.errstate(divide="ignore"):
        odds = np.log(p) - np.log1p(-p)
    return np.asarray(np.clip(odds, -_LARGEST, _LARGEST), np.float32)
