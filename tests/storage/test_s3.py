"""Pushes and pulls against a real S3 server, and one that fails in many ways."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest
from storage.conftest import S3
from support.s3 import Fault, Request, free_port

from dfbench.errors import UserError
from dfbench.storage import remote
from dfbench.storage.kinds import Kind
from dfbench.storage.mirror import Mirror
from dfbench.storage.remote import Remote
from dfbench.storage.stage import Stage
from dfbench.storage.url import Url

DATA = Kind(marker="dfbench.json")
BIG = 600_000  # bytes


def machine(url: str, tmp_path: Path, name: str) -> Mirror:
    return Mirror(Url(url), Stage(tmp_path / name))


def fill(mirror: Mirror, unit: str) -> dict[str, bytes]:
    """Write a folder of some files, and return their contents."""
    rng = random.Random(unit)
    sizes = {"part0": BIG, "part1": 1, "empty": 0, "a b/ü+%.txt": 1000, "dfbench.json": 30}
    files = {name: rng.randbytes(size) for name, size in sizes.items()}
    for name, data in files.items():
        path = mirror.stage.path(unit, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return files


def content(mirror: Mirror, unit: str) -> dict[str, bytes]:
    root = mirror.stage.path(unit)
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_folder_arrives_as_it_was_sent(s3: str, tmp_path: Path) -> None:
    one, two = machine(s3, tmp_path, "one"), machine(s3, tmp_path, "two")
    one.check()
    files = fill(one, "tfds/x")
    assert one.push("tfds/x", DATA)
    assert two.units("tfds") == ["tfds/x"]
    assert two.read("tfds/x", "dfbench.json") == files["dfbench.json"]
    two.pull("tfds/x", DATA)
    assert content(two, "tfds/x") == files
    assert two.units("other") == []
    assert two.listing("other") is None
    one.drop("tfds/x")
    assert set(one.remote.sizes()) == {".dfbench-place"}


def test_a_large_file_goes_in_parts(s3: str, tmp_path: Path, server: S3) -> None:
    one, two = Remote(Url(s3)), tmp_path / "two"
    data = random.Random(0).randbytes(11 * 2**20)
    (tmp_path / "one").write_bytes(data)
    counted: list[int] = []
    one.put(tmp_path / "one", "big", counted.append)
    assert sum(counted) == len(data)
    assert sum("partNumber" in asked.path for asked in server.flaky.seen) == 3
    one.get("big", two)
    assert two.read_bytes() == data


def every(number: int, *faults: Fault) -> Callable[[Request], Fault | None]:
    """Fail each `number`-th request of each method, by turns in these ways."""

    def plan(asked: Request) -> Fault | None:
        turn, rest = divmod(asked.number, number)
        return faults[turn % len(faults)] if rest == 0 else None

    return plan


FAULTS = {
    "500": Fault(status=500),
    "503": Fault(status=503),
    "429": Fault(status=429),
    "request cut at once": Fault(cut_request=0),
    "request cut in its body": Fault(cut_request=20_000),
    "answer cut in its head": Fault(cut_answer=20),
    "answer cut in its body": Fault(cut_answer=900),
    "no answer": Fault(cut_answer=0),
    "slow": Fault(pause=0.2),
    "in small pieces": Fault(pause=0.001, piece=16_384),
}


@pytest.mark.parametrize(
    "name", ["500", "request cut in its body", "answer cut in its body", "slow"]
)
def test_faults_now_and_then_change_nothing(s3: str, server: S3, tmp_path: Path, name: str) -> None:
    one, two = machine(s3, tmp_path, "one"), machine(s3, tmp_path, "two")
    files = fill(one, "x")
    server.flaky.follow(every(3, FAULTS[name]))
    one.push("x", DATA)
    two.pull("x", DATA)
    assert content(two, "x") == files
    assert server.flaky.faults >= 2


def test_all_faults_by_turns_change_nothing(s3: str, server: S3, tmp_path: Path) -> None:
    server.flaky.follow(every(2, *FAULTS.values()))
    for number in range(3):
        one, two = (machine(s3, tmp_path, f"{name}{number}") for name in ("one", "two"))
        files = fill(one, f"x{number}")
        one.push(f"x{number}", DATA)
        two.pull(f"x{number}", DATA)
        assert content(two, f"x{number}") == files


@pytest.mark.parametrize(("name", "after"), [("500", 0), ("503", 3), ("no answer", 5)])
def test_a_server_that_only_fails_ends_in_one_line_and_leaves_no_half(
    s3: str,
    server: S3,
    tmp_path: Path,
    name: str,
    after: int,
) -> None:
    one, two = machine(s3, tmp_path, "one"), machine(s3, tmp_path, "two")
    files = fill(one, "x")

    def plan(asked: Request) -> Fault | None:
        return FAULTS[name] if len(server.flaky.seen) > after else None

    server.flaky.follow(plan)
    with pytest.raises(UserError, match=rf"^{s3}/.*tried \d times.*run the same command") as info:
        one.push("x", DATA)
    assert "\n" not in str(info.value)
    server.flaky.follow(lambda asked: None)
    two.pull("x", DATA)
    assert content(two, "x") == {}
    one.push("x", DATA)
    server.flaky.follow(plan)
    with pytest.raises(UserError, match=rf"^{s3}/.*tried \d times"):
        two.pull("x", DATA)
    assert content(two, "x") == {}
    server.flaky.follow(lambda asked: None)
    two.pull("x", DATA)
    assert content(two, "x") == files


def test_a_server_that_does_not_answer_is_not_waited_for_forever(
    s3: str, server: S3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "ANSWER_S", 0.2)
    server.flaky.follow(lambda asked: Fault(pause=5.0))
    with pytest.raises(UserError, match=r"tried 3 times"):
        machine(s3, tmp_path, "one").listing("x")


@pytest.mark.usefixtures("fresh")
def test_nobody_there(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    with pytest.raises(UserError, match=rf"{s3}/\.dfbench-place: .*connect.* \(tried 3 times\)"):
        machine(s3, tmp_path, "one").check()


def test_no_such_bucket(s3: str, tmp_path: Path) -> None:
    one = machine("s3://no-such-bucket/runs", tmp_path, "one")
    for action in (one.check, one.units, lambda: one.listing("x")):
        with pytest.raises(UserError, match=r"s3://no-such-bucket/runs.*: there is no such bucket"):
            action()


@pytest.mark.usefixtures("fresh")
def test_no_credentials(s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    for name in ("AWS_SHARED_CREDENTIALS_FILE", "AWS_CONFIG_FILE"):
        monkeypatch.setenv(name, str(tmp_path / "none"))
    with pytest.raises(UserError, match=rf"{s3}/.*: no usable credentials .*AWS_ACCESS_KEY_ID"):
        machine(s3, tmp_path, "one").check()


@pytest.mark.parametrize(
    ("status", "message"), [(403, "permission denied"), (401, "credentials are not accepted")]
)
def test_refused(s3: str, server: S3, tmp_path: Path, status: int, message: str) -> None:
    server.flaky.follow(lambda asked: Fault(status=status))
    with pytest.raises(UserError, match=rf"{s3}/.*{message}"):
        machine(s3, tmp_path, "one").check()
    assert len(server.flaky.seen) == 1  # asking again would change nothing


@pytest.mark.usefixtures("fresh")
def test_an_endpoint_that_is_no_url(
    s3: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "localhost:9000")
    with pytest.raises(UserError, match=rf"{s3}/.*: Invalid endpoint"):
        machine(s3, tmp_path, "one").check()
