"""Which classical models there are. Listing them imports neither scikit-learn nor OpenCV."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from dfbench.errors import UserError

FeatureName = Literal["landmarks", "landmarks_embedding", "sift", "nothing"]
Family = Literal["svm_rbf", "svm_linear", "mlp", "logistic", "forest", "always_fake"]
EXTRA = "pip install 'dfbench[classical]'"

_FEATURES: dict[FeatureName, str] = {
    "landmarks": "grey values at 68 face landmarks",
    "landmarks_embedding": "grey values at 68 face landmarks and a face embedding",
    "sift": "bag of SIFT words",
    "nothing": "nothing at all",
}
_CLASSIFIERS: dict[Family | Literal["best"], str] = {
    "best": "the best of the four classifiers",
    "svm_rbf": "SVM with RBF kernel",
    "svm_linear": "linear SVM",
    "mlp": "perceptron of one or two hidden layers",
    "logistic": "logistic regression",
    "forest": "random forest of 500 trees",
    "always_fake": "every crop is fake",
}
_FOUR: tuple[Family, ...] = ("svm_rbf", "svm_linear", "mlp", "logistic")
_FAMILIES: dict[FeatureName, tuple[Family, ...]] = {
    "landmarks": _FOUR,
    "landmarks_embedding": _FOUR,
    "sift": ("svm_rbf", "forest"),
}
_UADFV_LAB = "Ortega Andres & Coin Castro, DeepFakes detection lab report, 2021"
_DFDC = "Forbush, Lopez & Smithers, Deep fakes (final report)"
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
    found = []
    for features, families in _FAMILIES.items():
        kinds: dict[Family | Literal["best"], tuple[Family, ...]] = {f: (f,) for f in families}
        if features != "sift":
            kinds["best"] = families
        found += [
            ClassicalSpec(
                name=f"{features}_{kind}",
                summary=f"{_FEATURES[features]}; {_CLASSIFIERS[kind]}",
                features=features,
                families=chosen,
                paper=_CVCS if features == "sift" else _UADFV_LAB,
            )
            for kind, chosen in kinds.items()
        ]
    found.append(
        ClassicalSpec(
            name="always_fake",
            summary="the baseline that calls every crop fake, and looks at none",
            features="nothing",
            families=("always_fake",),
            paper=_DFDC,
        )
    )
    return {spec.name: spec for spec in sorted(found, key=lambda spec: spec.name)}


CLASSICAL = _specs()  # by name


def is_classical(name: str) -> bool:
    """Tell whether a model is classical, and no network."""
    return name in CLASSICAL


def require(package: str, model: str) -> None:
    """Raise UserError where a package of the extra `classical` is not installed."""
    if importlib.util.find_spec(package) is None:
        raise UserError(f"the model '{model}' needs the package {package}: {EXTRA}")


def spec_values(spec: ClassicalSpec) -> dict[str, Any]:
    """Return what is declared of a model, with the keys that networks have in the same list."""
    nothing = ("input_size", "mean", "std", "parameters", "multiply_adds")
    return {
        "name": spec.name,
        "summary": spec.summary,
        **dict.fromkeys(nothing),
        "weights": [],
        "paper": spec.paper,
    }


def models_text(specs: Iterable[ClassicalSpec]) -> str:
    """Return a list of models, one a line."""
    specs = list(specs)
    width = max(len(spec.name) for spec in specs)
    lines = [f"{spec.name:{width}}  {spec.summary}" for spec in specs]
    return "\n".join([f"classical models ({EXTRA})", *lines])


def model_text(spec: ClassicalSpec) -> str:
    """Describe a model."""
    facts = {
        "classifiers": ", ".join(_CLASSIFIERS[family] for family in spec.families),
        "chosen by": "AUC over folds of the training videos; settings: classical.*",
        "needs": EXTRA,
        "paper": spec.paper,
    }
    lines = [f"{name:14} {text}" for name, text in facts.items()]
    return "\n".join([f"{spec.name}: {spec.summary}", *lines])
