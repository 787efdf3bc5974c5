from __future__ import annotations

import math

import pytest

from dfbench.eval.spread import Spread, spread


def test_several_seeds() -> None:
    found = spread([0.7, 0.8, 0.6])
    assert found.mean == pytest.approx(0.7)
    assert found.sd == pytest.approx(0.1)
    assert (found.low, found.high, found.seeds, found.undefined) == (0.6, 0.8, 3, 0)


def test_one_seed_has_no_deviation() -> None:
    assert spread([0.7]) == Spread(mean=0.7, sd=None, low=0.7, high=0.7, seeds=1, undefined=0)


def test_undefined_values_are_counted_and_not_averaged() -> None:
    assert spread([None, 0.5, math.nan]) == Spread(
        mean=0.5, sd=None, low=0.5, high=0.5, seeds=1, undefined=2
    )
    assert spread([]) == Spread(mean=None, sd=None, low=None, high=None, seeds=0, undefined=0)
