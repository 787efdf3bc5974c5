from __future__ import annotations

import pytest

from dfbench.results.compare import ABSENT, differences


def found(card: object, other: object, **options: float) -> list[str]:
    return [str(d) for d in differences(card, other, "metrics", "the scores give", **options)]


def test_every_difference_is_named_by_its_path() -> None:
    card = {"auc": {"value": 0.8312, "n": 5}, "rows": [{"a": 1}, {"a": 2}], "same": None}
    other = {"auc": {"value": 0.8311, "n": 6}, "rows": [{"a": 1}, {"a": 3}], "same": None}
    assert found(card, other) == [
        "metrics.auc.value: the card says 0.8312, the scores give 0.8311",
        "metrics.auc.n: the card says 5, the scores give 6",
        "metrics.rows[1].a: the card says 2, the scores give 3",
    ]


def test_what_one_side_lacks() -> None:
    assert found({"a": 1}, {}) == ["metrics.a: the card says 1, the scores give nothing"]
    assert found({}, {"a": None}) == ["metrics.a: the card says nothing, the scores give null"]
    assert found([1], [1, 2]) == ["metrics: the card says [1], the scores give [1, 2]"]
    assert found(ABSENT, {"x": "nothing"}) == [
        'metrics: the card says nothing, the scores give {"x": "nothing"}'
    ]


@pytest.mark.parametrize(
    ("one", "other"), [(1, 1.0), (1, True), (0, False), ("1", 1), (None, 0.0), ("", None), ([], {})]
)
def test_values_of_another_type_differ(one: object, other: object) -> None:
    assert len(found(one, other)) == len(found(other, one)) == 1


def test_tolerance_is_of_numbers_with_a_fraction_alone() -> None:
    assert found(0.5, 0.5 + 1e-12) != []
    assert found(0.5, 0.5 + 1e-12, tolerance=1e-9) == []
    assert found(0.5, 0.5 + 1e-8, tolerance=1e-9) != []
    assert found(5e12, 5e12 + 1, tolerance=1e-9) == []
    assert found(5_000_000_000, 5_000_000_001, tolerance=1e-9) != []


def test_long_values_are_cut() -> None:
    (text,) = found("x" * 5000, "y")
    assert len(text) < 250
