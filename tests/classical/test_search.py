from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from dfbench.classical import table
from dfbench.classical.classifiers import logits_of
from dfbench.classical.folds import make_folds
from dfbench.classical.search import Candidate, Found, search
from dfbench.progress import Reporter

RNG = np.random.default_rng(0)
LABELS = (np.arange(90) % 2).astype(np.int32)
VALUES = RNG.normal(size=(90, 5)).astype(np.float32)
VALUES[:, 1] += 2 * LABELS
FOLDS = make_folds(LABELS, None, folds=3, seed=0)


@pytest.fixture(scope="module")
def found() -> Found:
    return search(("svm_linear", "logistic"), VALUES, LABELS, FOLDS, coarse=True, jobs=1)


def test_every_choice_is_scored_on_every_fold(found: Found) -> None:
    assert len(found.candidates) == 12  # 2 classifiers, 3 of C, with and without PCA
    assert {len(c.aucs) for c in found.candidates} == {3}
    assert found.fits == 12 * 3 + 1
    assert found.best.mean == max(c.mean for c in found.candidates) > 0.8
    assert found.best is next(c for c in found.candidates if c.mean == found.best.mean)


def test_the_best_is_fitted_to_all(found: Found) -> None:
    kind = {"svm_linear": "LinearSVC", "logistic": "LogisticRegression"}[found.best.family]
    classifier = found.pipeline[-1]
    assert type(classifier).__name__ == kind
    assert found.best.parameters["C"] == classifier.C
    assert len(logits_of(found.pipeline, VALUES)) == 90


def test_the_same_again(found: Found) -> None:
    again = search(("svm_linear", "logistic"), VALUES, LABELS, FOLDS, coarse=True, jobs=1)
    assert again.candidates == found.candidates
    np.testing.assert_array_equal(
        logits_of(again.pipeline, VALUES), logits_of(found.pipeline, VALUES)
    )


def test_weights_move_the_decision() -> None:
    heavy = np.where(LABELS == 1, 20.0, 1.0)
    plain, weighted = (
        search(("logistic",), VALUES, LABELS, FOLDS, weights=w, coarse=True, pca=False, jobs=1)
        for w in (None, heavy)
    )
    assert (
        logits_of(weighted.pipeline, VALUES).mean() > logits_of(plain.pipeline, VALUES).mean() + 1
    )


def test_progress_and_no_silence_about_what_did_not_converge(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from contextlib import nullcontext

    from dfbench.classical import classifiers

    monkeypatch.setitem(classifiers.make_pipeline.__globals__, "MLPClassifier", _short_mlp)
    counts: list[tuple[int, int]] = []
    reporter = Reporter(
        bar=lambda title, unit: nullcontext(
            lambda done, total, note="": counts.append((done, total))
        )
    )
    found = search(
        ("mlp",), VALUES, LABELS, FOLDS, coarse=True, pca=False, jobs=1, reporter=reporter
    )
    assert counts == [(2, 2)]
    assert "Maximum iterations (3) reached" in found.note


def _short_mlp(**arguments: object) -> object:
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(**{**arguments, "max_iter": 3})


def test_the_table_has_the_best_with_and_without_pca(found: Found, tmp_path: Path) -> None:
    rows = table.best_rows(found.candidates)
    assert [(r.family, r.pca) for r in rows] == [
        ("svm_linear", None),
        ("svm_linear", 0.95),
        ("logistic", None),
        ("logistic", 0.95),
    ]
    page = table.markdown(found.candidates, "title").splitlines()
    assert page[2] == "| Model | PCA | Parameters | AUC (CV) |"
    first = rows[0]
    wanted = f"| svm_linear | no | C = {first.parameters['C']:.4g} | "
    assert page[4] == wanted + f"{first.mean:.4f} ± {first.spread:.4f} |"
    table.write_search(found.candidates, tmp_path / "search.json")
    values = msgspec.json.decode((tmp_path / "search.json").read_bytes())
    assert len(values) == 12
    assert values[0]["aucs"] == list(found.candidates[0].aucs)


def test_spread_is_that_of_a_sample() -> None:
    one = Candidate(family="mlp", pca=None, parameters={}, aucs=(0.5, 0.7, 0.9))
    assert (one.mean, one.spread) == (pytest.approx(0.7), pytest.approx(0.2))
