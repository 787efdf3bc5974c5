from __future__ import annotations

from pathlib import Path

import pytest
from support.shell import HOSTILE

from dfbench.errors import UserError
from dfbench.launch.values import (
    absolute,
    directives,
    dns_name,
    is_url,
    optional,
    pairs,
    positive,
    printable,
    variables,
    word,
)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("dfbench-full_matrix-1", "dfbench-full-matrix-1"),
        ("My Job!", "my-job"),
        ("--a..b--", "a-b"),
        ("2024", "j2024"),
        ("x" * 80, "x" * 40),
        (HOSTILE, "it-s-a-touch-x-touch-x-touch-x-a-b-home"),
        ("Ünïcode 9", "n-code-9"),
    ],
)
def test_names_of_hosts(text: str, name: str) -> None:
    assert dns_name(text) == name


@pytest.mark.parametrize("text", ["...", "ü", "-"])
def test_names_of_which_nothing_is_left(text: str) -> None:
    with pytest.raises(UserError, match="no letter and no digit"):
        dns_name(text)


@pytest.mark.parametrize("text", ["", "a\nb", "a\tb", "\x1b", "a\u2028"])
def test_what_does_not_print(text: str) -> None:
    for check in (printable, optional, absolute):
        with pytest.raises(UserError, match="--x"):
            check(text, "--x")


def test_pairs_and_variables() -> None:
    assert pairs(["a=b=c", "d="], "--raw", "N=D") == (("a", "b=c"), ("d", ""))
    assert variables(["A_1=$(x)"]) == (("A_1", "$(x)"),)
    for text in ("a", "=b"):
        with pytest.raises(UserError, match="of the form N=D"):
            pairs([text], "--raw", "N=D")
    for text in ("1A=b", "A B=c", "A-B=c", "Ä=b"):
        with pytest.raises(UserError, match="no name of a variable"):
            variables([text])


def test_directives_are_single_words() -> None:
    good = ["--exclusive", "--constraint=a100&80g", "--gres=gpu:a100:1", "--comment=$(x)"]
    assert directives(good) == tuple(good)
    for text in ("-C a", "--comment=a b", "--a='b'", "--a=#", "--a=b\n--c", "exclusive", "--A"):
        with pytest.raises(UserError, match="--extra"):
            directives([text])


def test_words_and_numbers() -> None:
    assert word("2-00:00:00", "--time") == "2-00:00:00"
    assert word(None, "--time") is None
    for text in ("", "a b", "a'", "a\n", "$x"):
        with pytest.raises(UserError, match="--time"):
            word(text, "--time")
    with pytest.raises(UserError, match="--nodes: 0"):
        positive(0, "--nodes")


def test_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert is_url("gs://bucket/a")
    with pytest.raises(UserError, match="a slash is missing: gs://b"):
        is_url("gs:/b")
    assert not is_url("//a")
    assert absolute("s3://bucket/a b", "--x") == "s3://bucket/a b"
    assert absolute("a/b", "--x") == str(tmp_path / "a" / "b")
    assert absolute("~/a", "--x") == str(Path.home() / "a")
