from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer

from dfbench.classical.catalog import Family
from dfbench.classical.classifiers import make_pipeline
from dfbench.classical.detector import FACTS, PIPELINE, Detector, Facts, load, save
from dfbench.classical.features import FeatureRecipe, Features
from dfbench.classical.sift import BagOfWords
from dfbench.errors import UserError

io = pytest.importorskip("skops.io", reason="needs dfbench[classical]: skops")
RNG = np.random.default_rng(0)
LABELS = np.arange(40) % 2


def _facts(family: Family, **changes: str) -> Facts:
    recipe = FeatureRecipe(name="landmarks", landmark_model="00")
    model = f"landmarks_{family}"
    return Facts(model=model, family=family, recipe=recipe, scikit_learn="1", **changes)


def _landmarks() -> Features:
    values = RNG.normal(size=(40, 68)).astype(np.float32)
    return Features(values, np.ones(40, int), np.ones(40, bool))


def _fitted(family: Family, features: Features) -> Pipeline:
    pipeline = make_pipeline(family, seed=0)
    if family == "forest":
        pipeline.set_params(classifier__n_estimators=10)
    return pipeline.fit(features.matrix(), LABELS)


@pytest.mark.parametrize("family", ["svm_rbf", "svm_linear", "mlp", "logistic", "forest"])
def test_what_is_kept_scores_the_same(family: Family, tmp_path: Path) -> None:
    features = _landmarks()
    pipeline = _fitted(family, features)
    one = Detector(_facts(family), pipeline)
    save(one, tmp_path)
    again = load(tmp_path)
    assert again.facts == one.facts
    np.testing.assert_array_equal(again.logits(features), one.logits(features))


def test_sift_with_its_vocabulary(tmp_path: Path) -> None:
    counts = RNG.integers(0, 6, 40)
    values = RNG.integers(0, 256, (counts.sum(), 128), dtype=np.uint8)
    features = Features(values, counts, counts > 0)
    words = BagOfWords(4, random_state=0).fit(features.ragged())
    shares = words.transform(features.ragged())
    rest = make_pipeline("svm_rbf", seed=0).fit(shares, LABELS)
    facts = Facts(
        model="sift_svm_rbf",
        family="svm_rbf",
        recipe=FeatureRecipe(name="sift", keypoints=6),
        scikit_learn="1",
    )
    one = Detector(facts, Pipeline([("words", words), *rest.steps]))
    save(one, tmp_path)
    np.testing.assert_array_equal(load(tmp_path).logits(features), one.logits(features))


def test_nothing_of_a_foreign_file_is_run(tmp_path: Path) -> None:
    save(Detector(_facts("logistic"), make_pipeline("logistic", seed=0)), tmp_path)
    evil = Pipeline([("run", FunctionTransformer(print))])
    io.dump(evil, tmp_path / PIPELINE)
    with pytest.raises(UserError, match=r"pipeline\.skops: holds builtins\.print, which no"):
        load(tmp_path)


def test_a_tree_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    features = _landmarks()
    pipeline = _fitted("forest", features)
    children = pipeline[-1].estimators_[7].tree_.children_left
    children[0] = 10**6
    save(Detector(_facts("forest"), pipeline), tmp_path)
    with pytest.raises(UserError, match="holds no pipeline that dfbench wrote"):
        load(tmp_path)


@pytest.mark.parametrize("damage", ["cut", "text", "other"])
def test_damaged_files(damage: str, tmp_path: Path) -> None:
    save(Detector(_facts("logistic"), make_pipeline("logistic", seed=0)), tmp_path)
    path = tmp_path / PIPELINE
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif damage == "text":
        path.write_bytes(b"text")
    else:
        io.dump([1, 2], path)
    with pytest.raises(UserError, match=r"pipeline\.skops: (cannot be read|holds no pipeline)"):
        load(tmp_path)


def test_no_detector_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=rf"{FACTS}: .*; train again with --overwrite"):
        load(tmp_path)
