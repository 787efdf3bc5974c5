"""Which classical models there are. Listing them imports neither scikit-learn nor OpenCV."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Literal

from dfbench.errors import UserError

FeatureName = Literal["landmarks", "landmarks_embedding", "sift"]
Family = Literal["svm_rbf", "svm_linear", "mlp", "logistic", "forest"]
LANDMARK_FAMILIES: tuple[Family, ...] = ("svm_rbf", "svm_linear", "mlp", "logistic")
EXTRA = "pip install 'dfbench[classical]'"

_FEATURES: dict[FeatureName, str] = {
    "landmarks": "grey values at 68 face landmarks",
    "landmarks_embedding": "grey values at 68 face landmarks and a face embedding",
    "sift": "bag of SIFT words",
}
_CLASSIFIERS: dict[Family, str] = {
    "svm_rbf": "SVM with RBF kernel",
    "svm_linear": "linear SVM",
    "mlp": "perceptron of one or two hidden layers",
    "logistic": "logistic regression",
    "forest": "random forest of 500 trees",
}
_UADFV_LAB = "Ortega Andres & Coin Castro, DeepFakes detection lab report, 2021"
_CVCS = "Govi, Poppi & Marinelli, Deep learning for deepfake creation and detection, 2022"


@dataclass(frozen=True, kw_only=True)
class ClassicalSpec:
    """A classical model: what it sees, and which classifiers the search chooses from."""

    name: str
    summary: str
    features: FeatureName
    families: tuple[Family, ...]
    paper: str


def _specs() -> dict[str, ClassicalSpec]:
    of_features: dict[FeatureName, tuple[Family, ...]] = {
        "landmarks": LANDMARK_FAMILIES,
        "landmarks_embedding": LANDMARK_FAMILIES,
        "sift": ("svm_rbf", "forest"),
    }
    found = {}
    for features, families in of_features.items():
        paper = _CVCS if features == "sift" else _UADFV_LAB
        choices = {
            family: (families[i : i + 1], _CLASSIFIERS[family]) for i, family in enumerate(families)
        }
        for family, (one, text) in choices.items():
            name = f"{features}_{family}"
            found[name] = ClassicalSpec(
                name=name,
                summary=f"{_FEATURES[features]}, {text}",
                features=features,
                families=one,
                paper=paper,
            )
        if features != "sift":
            name = f"{features}_best"
            found[name] = ClassicalSpec(
                name=name,
                summary=f"{_FEATURES[features]}, the best of {len(families)} kinds of classifier",
                features=features,
                families=families,
                paper=paper,
            )
    return dict(sorted(found.items()))


CLASSICAL = _specs()


def is_classical(name: str) -> bool:
    """Tell whether a model is classical, and no network."""
    return name in CLASSICAL


def require(package: str, model: str) -> None:
    """Raise UserError where a package of the extra `classical` is not installed."""
    if importlib.util.find_spec(package) is None:
        raise UserError(f"the model '{model}' needs the package {package}: {EXTRA}")
