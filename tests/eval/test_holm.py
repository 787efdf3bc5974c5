from __future__ import annotations

import numpy as np
import pytest

from dfbench.eval.holm import holm


def test_known_values() -> None:
    # In rising order times 4, 3, 2 and 1; 0.04 may not fall below 0.03 * 2.
    found = holm(np.array([0.01, 0.04, 0.03, 0.005]))
    np.testing.assert_allclose(found, [0.03, 0.06, 0.06, 0.02])


def test_stays_below_1_and_keeps_the_order() -> None:
    p = np.random.default_rng(0).uniform(size=30)
    found = holm(p)
    assert found.max() <= 1
    assert (found >= p).all()
    assert (np.diff(found[np.argsort(p)]) >= 0).all()


def test_tests_that_were_not_made_do_not_count() -> None:
    found = holm(np.array([np.nan, 0.02, 0.5, np.nan]))
    np.testing.assert_array_equal(found, [np.nan, 0.04, 0.5, np.nan])
    assert np.isnan(holm(np.array([np.nan]))).all()
    assert holm(np.zeros(0)).shape == (0,)


def test_no_probability_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\[0, 1\]"):
        holm(np.array([0.5, 1.2]))


def test_false_rejections_of_a_family_are_as_rare_as_promised() -> None:
    rng = np.random.default_rng(1)
    families = rng.uniform(size=(2000, 10))
    plain = np.mean((families < 0.05).any(axis=1))
    corrected = np.mean([(holm(p) < 0.05).any() for p in families])
    assert plain > 0.3
    assert corrected == pytest.approx(0.05, abs=0.015)
