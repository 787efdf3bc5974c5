from __future__ import annotations

import pytest

from dfbench.degradations import KINDS, Degradation, parse_degradations
from dfbench.errors import UserError


def texts(*lists: str) -> list[str]:
    return [one.text for one in parse_degradations(lists, "--degrade")]


def test_lists_are_read_in_their_order_and_each_once() -> None:
    assert texts("jpeg:90+50+30,blur:1.5") == ["jpeg:90", "jpeg:50", "jpeg:30", "blur:1.5"]
    assert texts("jpeg:90, jpeg:50", "jpeg:50+30") == ["jpeg:90", "jpeg:50", "jpeg:30"]
    assert texts("blur:1.50,blur:1.5,noise:05,resize:.5") == ["blur:1.5", "noise:5", "resize:0.5"]
    assert texts() == []


def test_what_is_written_is_what_is_done() -> None:
    (one,) = parse_degradations(["blur:1.23456789"], "x")
    assert one.text == "blur:1.23457"
    assert one.strength == 1.23457
    assert parse_degradations([one.text], "x") == (one,)


@pytest.mark.parametrize("name", KINDS)
def test_both_ends_of_a_range_are_in_it(name: str) -> None:
    kind = KINDS[name]
    ends = [Degradation(name, kind.least), Degradation(name, kind.most)]
    assert list(parse_degradations([one.text for one in ends], "x")) == ends
    assert (ends[0].order > ends[1].order) == kind.falling


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("jpg:50", "'jpg:50' is no degradation; there are jpeg:QUALITY (a whole number from 1"),
        ("jpg:50", "did you mean 'jpeg'?"),
        ("", "'' is no degradation; there are jpeg:QUALITY"),
        ("jpeg:50,", "'' is no degradation"),
        ("50", "noise:SIGMA (from 0.1 to 255)"),
        ("jpeg", "jpeg:: QUALITY is a whole number from 1 to 100"),
        ("jpeg:0", "jpeg:0: QUALITY is a whole number from 1 to 100"),
        ("jpeg:101", "QUALITY is"),
        ("jpeg:50.5", "QUALITY is a whole number"),
        ("jpeg:90+", "jpeg:: QUALITY is"),
        ("blur:0", "blur:0: SIGMA is from 0.1 to 50"),
        ("blur:-1", "blur:-1: SIGMA is"),
        ("blur:nan", "SIGMA is"),
        ("blur:1e1", "SIGMA is"),
        ("blur:\uff11", "SIGMA is"),
        ("resize:2", "resize:2: FACTOR is from 0.02 to 1"),
        ("noise:256", "noise:256: SIGMA is from 0.1 to 255"),
    ],
)
def test_a_wrong_one_is_named_with_what_there_is(text: str, message: str) -> None:
    with pytest.raises(UserError) as raised:
        parse_degradations([text], "--degrade")
    assert str(raised.value).startswith("--degrade: ")
    assert message in str(raised.value)
