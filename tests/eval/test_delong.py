from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from dfbench.eval.delong import delong, paired_p_value

# 113 patients after a haemorrhage (Turck et al., Intensive Care Medicine 36, 2010, as aSAH in R's
# pROC): whether the outcome was poor, a grade of 1 to 5, and a protein in ng/ml.
POOR = (
    "00001101001011001011101000000000100110110000000001100010001010011101101111000110"
    "100000010000000000001111110001000"
)
WFNS = (
    "11113254125255125225211112121134214541425511241125521251222151125214524414121421"
    "232421451154221113125225552445111"
)
S100B = """
13 14 10 4 13 10 47 16 18 10 12 10 44 71 4 8 49 4 7 33 9 9 7 11 7 17 7 11 13 19 5 16 41 14 34
35 48 9 96 25 50 46 16 7 43 45 11 8 9 86 52 8 6 13 207 10 14 15 7 6 77 5 9 30 3 9 4 23 70 9 27
71 8 26 8 16 9 13 10 8 11 33 11 28 7 10 32 22 7 5 24 38 10 15 8 14 10 7 4 19 56 14 58 32 82 74
15 47 17 44 15 50 48
"""  # hundredths


def test_the_published_example() -> None:
    """What pROC gives, by its own tests (test-var.R, test-cov.R and test-roc.test.R of 1.19)."""
    label = np.array([int(digit) for digit in POOR])
    scores = np.array([[int(digit) for digit in WFNS], [int(v) for v in S100B.split()]])
    auc, covariance = delong(label, scores)
    assert auc == pytest.approx([0.823678861788618, 0.731368563685637], abs=1e-14)
    assert covariance[0, 0] == pytest.approx(0.00146991470882363, abs=1e-16)
    assert covariance[1, 1] == pytest.approx(0.00266868245717244, abs=1e-16)
    assert covariance[0, 1] == pytest.approx(0.00119615567376754, abs=1e-16)
    assert paired_p_value(auc, covariance, 0, 1) == pytest.approx(0.0271757822291882, abs=1e-13)
    assert paired_p_value(auc, covariance, 1, 0) == paired_p_value(auc, covariance, 0, 1)


def _placements(label: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return areas and covariance by the definition: all pairs."""
    fakes, reals = scores[:, label == 1], scores[:, label == 0]
    wins = (fakes[:, :, None] > reals[:, None]) + 0.5 * (fakes[:, :, None] == reals[:, None])
    of_fakes, of_reals = np.cov(wins.mean(axis=2)), np.cov(wins.mean(axis=1))
    covariance = of_fakes / fakes.shape[1] + of_reals / reals.shape[1]
    return wins.mean(axis=(1, 2)), covariance


@pytest.mark.parametrize("ties", [False, True])
def test_equals_the_definition(ties: bool) -> None:
    rng = np.random.default_rng(0)
    label = rng.permutation(np.repeat([0, 1], [30, 50]))
    scores = rng.normal(size=(3, 80)) + label + rng.normal(size=80)
    scores = np.round(scores) if ties else scores
    auc, covariance = delong(label, scores)
    expected = _placements(label, scores)
    np.testing.assert_allclose(auc, expected[0], atol=1e-14)
    np.testing.assert_allclose(covariance, expected[1], atol=1e-14)
    assert auc[1] == pytest.approx(roc_auc_score(label, scores[1]))


def test_the_variance_is_that_of_repeated_studies() -> None:
    rng = np.random.default_rng(1)
    label = np.repeat([0, 1], [60, 90])
    found = [delong(label, rng.normal(size=(1, 150)) + label) for _ in range(400)]
    said = np.mean([covariance[0, 0] for _, covariance in found])
    assert said == pytest.approx(np.var([auc[0] for auc, _ in found]), rel=0.15)


def test_p_values_of_equal_detectors_are_even() -> None:
    rng = np.random.default_rng(2)
    label = np.repeat([0, 1], [60, 90])
    p = []
    for _ in range(300):
        shared = rng.normal(size=150) + label
        auc, covariance = delong(label, shared + rng.normal(size=(2, 150)))
        p.append(paired_p_value(auc, covariance, 0, 1))
    assert np.mean(np.array(p) < 0.05) == pytest.approx(0.05, abs=0.03)
    assert np.mean(p) == pytest.approx(0.5, abs=0.06)


def test_equal_rankings_do_not_differ() -> None:
    label = np.repeat([0, 1], 10)
    score = np.random.default_rng(3).normal(size=20)
    auc, covariance = delong(label, np.stack([score, np.exp(score), -score]))
    assert paired_p_value(auc, covariance, 0, 1) == 1.0
    assert paired_p_value(auc, covariance, 0, 2) < 1.0


def test_no_variance_gives_no_p_value_for_different_areas() -> None:
    label = np.repeat([0, 1], 5)
    auc, covariance = delong(label, np.stack([label, 1 - label, 2 * label]))
    assert auc.tolist() == [1.0, 0.0, 1.0]
    assert not covariance.any()
    assert paired_p_value(auc, covariance, 0, 2) == 1.0
    assert np.isnan(paired_p_value(auc, covariance, 0, 1))


def test_too_few_examples_and_nan_are_refused() -> None:
    with pytest.raises(ValueError, match="needs 2 examples of each class; there are 1 and 3"):
        delong(np.array([0, 0, 0, 1]), np.arange(4.0)[None])
    with pytest.raises(ValueError, match="NaN"):
        delong(np.array([0, 0, 1, 1]), np.array([[0.0, 1.0, np.nan, 2.0]]))
