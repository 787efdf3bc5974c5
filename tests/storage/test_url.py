from __future__ import annotations

from pathlib import Path

import pytest

from dfbench.errors import UserError
from dfbench.storage.mirror import Mirror
from dfbench.storage.stage import stage_of
from dfbench.storage.url import Url, place, shown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://bucket/runs", Url("s3://bucket/runs")),
        ("S3://Bucket/Runs//", Url("s3://Bucket/Runs")),
        ("gs://bucket", Url("gs://bucket")),
        ("gcs://bucket/a b/ü", Url("gcs://bucket/a b/ü")),
        ("runs", Path("runs")),
        ("/data/runs", Path("/data/runs")),
        ("C:/runs", Path("C:/runs")),
        ("odd:/name", Path("odd:/name")),
        ("odd:name", Path("odd:name")),
    ],
)
def test_folders_and_urls_are_told_apart(text: str, expected: Path | Url) -> None:
    assert place(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        *("s3://", "s3:///runs", "s3://bucket//runs", "s3://bucket/../runs", "s3://bucket/./runs"),
        *("gs://bucket/runs*", "gs://bucket/a?b", "gs://bucket/a#b", "gs://bucket/a\nb"),
    ],
)
def test_urls_of_nothing_are_refused(text: str) -> None:
    with pytest.raises(UserError, match=r"write (s3|gs)://BUCKET/FOLDER"):
        place(text)


def test_a_slash_too_few_is_said() -> None:
    with pytest.raises(UserError, match=r"s3:/bucket/runs: a slash is missing: s3://bucket/runs"):
        place("s3:/bucket/runs")


def test_parts() -> None:
    url = place("s3://bucket/runs/one")
    assert isinstance(url, Url)
    assert (url.name, url.scheme, str(url.parent)) == ("one", "s3", "s3://bucket/runs")
    assert str(url.parent.parent) == "s3://bucket"
    with pytest.raises(UserError, match="whole bucket"):
        _ = url.parent.parent.parent


def test_people_read_urls_and_not_where_their_copies_lie() -> None:
    url = Url("s3://bucket/runs")
    stage = stage_of(url)
    assert shown(f"{stage.files / 'one'}: damaged") == "s3://bucket/runs/one: damaged"
    assert stage_of(Url("s3://bucket/run")).home != stage.home
    assert stage_of(Url("s3://bucket-runs")).home != stage.home


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gs://bucket/runs", r"pip install 'dfbench\[gcs\]'"),
        ("nonsense://bucket/runs", r"Protocol not known: nonsense.*tested are s3:// and gs://"),
    ],
)
def test_what_is_not_installed_is_said(
    url: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "gcsfs", None)
    with pytest.raises(UserError, match=rf"^{url}: .*{message}"):
        Mirror(Url(url))
