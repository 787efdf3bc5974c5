"""Pushes and pulls on fsspec's file system in memory, which is as strict as object storage."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import fsspec
import pytest

from dfbench.errors import UserError
from dfbench.storage.kinds import Kind
from dfbench.storage.listing import NAME
from dfbench.storage.mirror import Mirror
from dfbench.storage.remote import Remote
from dfbench.storage.stage import Stage
from dfbench.storage.url import Url

URL = Url("memory://bucket/runs")
RUN = Kind(marker="training.json", whole="checkpoints", besides=("evals/*",))
EVAL = Kind(marker="*.card.json")


@pytest.fixture(autouse=True)
def _empty() -> Iterator[None]:
    memory = fsspec.filesystem("memory")
    memory.store.clear()
    yield
    memory.store.clear()


def machine(tmp_path: Path, name: str) -> Mirror:
    return Mirror(URL, Stage(tmp_path / name))


def write(mirror: Mirror, unit: str, **files: str) -> None:
    """Write files; `__` in a name is a slash, `_` a dot."""
    for name, text in files.items():
        path = mirror.stage.path(unit, name.replace("__", "/").replace("_", "."))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def content(mirror: Mirror, unit: str) -> dict[str, str]:
    root = mirror.stage.path(unit)
    return {p.relative_to(root).as_posix(): p.read_text() for p in root.rglob("*") if p.is_file()}


def objects() -> dict[str, bytes]:
    fs = fsspec.filesystem("memory")
    return {
        name.removeprefix("/bucket/runs/"): fs.cat_file(name) for name in fs.find("/bucket/runs")
    }


def test_a_folder_arrives_as_it_was_sent(tmp_path: Path) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    write(one, "a/evals/x", scores_parquet="numbers", x_card_json="card")
    assert one.push("a/evals/x", EVAL)
    assert not one.push("a/evals/x", EVAL)  # nothing is new
    two.pull("a/evals/x", EVAL)
    assert content(two, "a/evals/x") == content(one, "a/evals/x")
    assert two.units() == ["a/evals/x"]
    assert set(objects()) == {f"a/evals/x/{n}" for n in ("scores.parquet", "x.card.json", NAME)}


def test_a_run_is_sent_without_its_evaluations_and_fetched_in_parts(tmp_path: Path) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    write(one, "a", config_toml="c", training_json="t", checkpoints__best__d__w="b")
    write(one, "a", checkpoints__last__w="l", evals__x__scores_parquet="s", _hidden="h")
    one.push("a", RUN)
    two.pull("a", RUN, lambda piece: not piece.startswith("checkpoints/"))
    assert content(two, "a") == {"config.toml": "c", "training.json": "t"}
    two.pull("a", RUN, lambda piece: piece == "checkpoints/best")
    assert content(two, "a") == {
        "config.toml": "c",
        "training.json": "t",
        "checkpoints/best/d/w": "b",
    }
    # It has less than there is: that is no reason to delete it.
    write(two, "a", val_parquet="v")
    two.push("a", RUN)
    assert {"val.parquet", "checkpoints/last/w"} <= objects_of("a")


def objects_of(unit: str) -> set[str]:
    return set(json.loads(objects()[f"{unit}/{NAME}"])["files"])


def test_an_unfinished_run_goes_on_elsewhere_from_its_last_checkpoint(tmp_path: Path) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    for epoch in "123":
        write(one, "a", metrics_jsonl=f"epochs to {epoch}")
        for file in one.stage.path("a").glob("checkpoints/last/*"):
            file.unlink()  # the next one has files of other names
        write(one, "a", **{f"checkpoints__last__{epoch}": epoch})
        one.push("a", RUN)
    assert len(objects()) == 3  # what earlier lists named is gone
    two.pull("a", RUN)
    assert content(two, "a") == {"metrics.jsonl": "epochs to 3", "checkpoints/last/3": "3"}
    write(two, "a", training_json="done")
    two.push("a", RUN)
    assert set(objects()) == {
        f"a/{name}" for name in (NAME, "metrics.jsonl", "checkpoints/last/3", "training.json")
    }
    one.pull("a", RUN)  # the first machine is back: it was overtaken
    assert content(one, "a") == content(two, "a")


def test_what_was_not_sent_yet_is_not_overwritten(tmp_path: Path) -> None:
    one = machine(tmp_path, "one")
    write(one, "a", checkpoints__last__1="1")
    one.push("a", RUN)
    (one.stage.path("a") / "checkpoints/last/1").unlink()
    write(one, "a", checkpoints__last__2="2", training_json="t")
    one.pull("a", RUN)
    assert content(one, "a") == {"checkpoints/last/2": "2", "training.json": "t"}


def test_what_was_deleted_there_is_deleted_here(tmp_path: Path) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    write(one, "a", training_json="t", checkpoints__best__w="b")
    write(one, "a/evals/x", x_card_json="card")
    one.push("a", RUN)
    one.push("a/evals/x", EVAL)
    two.pull("a", RUN)
    one.drop("a")
    assert objects() == {}
    two.pull("a", RUN)
    assert content(two, "a") == {}


def test_a_training_that_starts_again_is_not_finished_elsewhere(tmp_path: Path) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    write(one, "a", training_json="t", curves_png="c", checkpoints__best__w="b")
    one.push("a", RUN)
    two.pull("a", RUN)
    one.drop("a")
    (one.stage.path("a") / "training.json").unlink()
    one.push("a", RUN)
    two.pull("a", RUN)
    assert "training.json" not in content(two, "a")


def test_pieces_can_be_forgotten(tmp_path: Path) -> None:
    one = machine(tmp_path, "one")
    write(one, "a", training_json="t", checkpoints__epoch1__w="1", checkpoints__best__w="b")
    one.push("a", RUN)
    one.forget("a", RUN, lambda piece: piece.startswith("checkpoints/epoch"))
    assert set(objects()) == {f"a/{name}" for name in (NAME, "training.json", "checkpoints/best/w")}


class KilledError(Exception):
    pass


@pytest.mark.parametrize("calls", range(1, 9))
@pytest.mark.parametrize("finished", [False, True], ids=["training", "finished"])
def test_a_push_that_is_killed_anywhere_leaves_the_old_or_the_new(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, calls: int, finished: bool
) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    old = {"metrics.jsonl": "old", "checkpoints/last/1": "old", "checkpoints/best/1": "old"}
    new = {"metrics.jsonl": "new", "checkpoints/last/2": "new", "checkpoints/best/1": "old"}
    write(one, "a", metrics_jsonl="old", checkpoints__last__1="old", checkpoints__best__1="old")
    one.push("a", RUN)
    (one.stage.path("a") / "checkpoints/last/1").unlink()
    write(one, "a", metrics_jsonl="new", checkpoints__last__2="new")
    if finished:
        new["training.json"] = "t"
        write(one, "a", training_json="t")
    with monkeypatch.context() as patched:
        budget = iter(range(calls))
        for name in ("put", "write", "delete"):
            patched.setattr(Remote, name, killed_after(budget, getattr(Remote, name)))
        ended = False
        try:
            one.push("a", RUN)
            ended = True
        except KilledError:
            pass
    two.pull("a", RUN)
    assert content(two, "a") in ((new,) if ended else (old, new))
    one.push("a", RUN)  # again
    three = machine(tmp_path, "three")
    three.pull("a", RUN)
    assert content(three, "a") == new


def killed_after(budget: Iterator[int], original: Callable[..., None]) -> Callable[..., None]:
    def call(*args: object) -> None:
        if next(budget, None) is None:
            raise KilledError
        original(*args)

    return call


def test_scores_that_are_replaced_are_never_mixed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    write(one, "e", scores_parquet="old", x_card_json="old")
    one.push("e", EVAL)
    write(one, "e", scores_parquet="new", x_card_json="new")

    def full(self: Remote, *args: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(Remote, "write", full)
        with pytest.raises(KilledError):
            one.push("e", EVAL)
    two.pull("e", EVAL)
    assert content(two, "e") == {}
    one.push("e", EVAL)
    two.pull("e", EVAL)
    assert content(two, "e") == {"scores.parquet": "new", "x.card.json": "new"}


@pytest.mark.parametrize("damage", ["cut", "other", "gone"])
def test_a_damaged_object_is_named_and_not_taken(tmp_path: Path, damage: str) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    write(one, "e", scores_parquet="numbers", x_card_json="card")
    one.push("e", EVAL)
    fs, key = fsspec.filesystem("memory"), "/bucket/runs/e/scores.parquet"
    if damage == "gone":
        fs.rm_file(key)
    else:
        fs.pipe_file(key, b"numb" if damage == "cut" else b"NUMBERS")
    with pytest.raises(UserError, match=r"memory://bucket/runs/e/scores.parquet: is not what"):
        two.pull("e", EVAL)
    assert content(two, "e") == {}


def test_a_writer_between_list_and_files_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader has the old list when the files change: it looks again."""
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    write(one, "a", metrics_jsonl="old", checkpoints__last__1="old")
    one.push("a", RUN)
    get, calls = Remote.get, []

    def late(self: Remote, *args: object) -> None:
        if not calls:
            calls.append(1)
            write(one, "a", metrics_jsonl="new", checkpoints__last__1="new")
            one.push("a", RUN)
        get(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Remote, "get", late)
    two.pull("a", RUN)
    assert content(two, "a") == {"metrics.jsonl": "new", "checkpoints/last/1": "new"}


def test_of_two_machines_that_finish_at_once_one_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They have prepared the same data: records are the same, what says when is not."""
    one, two, three = (machine(tmp_path, name) for name in ("one", "two", "three"))
    for number, mirror in enumerate((one, two)):
        write(mirror, "e", records="the same", x_card_json=f"made by {number}")
    put, calls = Remote.put, []

    def late(self: Remote, *args: object) -> None:
        if not calls:
            calls.append(1)
            assert two.push("e", EVAL)
        put(self, *args)  # type: ignore[arg-type]

    monkeypatch.setattr(Remote, "put", late)
    assert not one.push("e", EVAL)
    three.pull("e", EVAL)
    assert content(three, "e") == content(two, "e")
    one.pull("e", EVAL)
    assert content(one, "e") == content(two, "e")


def test_a_fetch_goes_on_where_it_was_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = machine(tmp_path, "one"), machine(tmp_path, "two")
    names = {f"part{number}": f"content {number}" for number in range(20)}
    write(one, "e", **names, x_card_json="card")
    one.push("e", EVAL)
    get, fetched = Remote.get, []

    def stopping(self: Remote, name: str, *args: object) -> None:
        if len(fetched) >= 10:
            raise KilledError
        get(self, name, *args)  # type: ignore[arg-type]
        fetched.append(name)

    with monkeypatch.context() as patched:
        patched.setattr(Remote, "get", stopping)
        with pytest.raises(KilledError):
            two.pull("e", EVAL)
    assert content(two, "e") == {}
    before = len(fetched)
    assert before >= 10
    with monkeypatch.context() as patched:
        patched.setattr(Remote, "get", lambda *args: (fetched.append(args[1]), get(*args)))
        two.pull("e", EVAL)
    assert len(fetched) == 21
    assert content(two, "e") == content(one, "e")


@pytest.mark.parametrize(
    "path", ["../../out", "/etc/passwd", "a/../../b", "a//b", "a\\b", "", "\n"]
)
def test_names_that_lead_out_of_the_folder_are_refused(tmp_path: Path, path: str) -> None:
    entry = {"key": "x", "bytes": 1, "sha256": "00"}
    for name, key in ((path, "x"), ("x", path)):
        listed = {"version": 1, "finished": True, "files": {name: {**entry, "key": key}}}
        memory = fsspec.filesystem("memory")
        memory.pipe_file(f"/bucket/runs/e/{NAME}", json.dumps(listed).encode())
        with pytest.raises(UserError, match="is no name of a file in this folder"):
            machine(tmp_path, "one").pull("e", EVAL)


@pytest.mark.parametrize("text", ["", "{}", "[1]", '{"version": 2, "finished": true, "files": {}}'])
def test_a_damaged_list_is_named(tmp_path: Path, text: str) -> None:
    fsspec.filesystem("memory").pipe_file(f"/bucket/runs/e/{NAME}", text.encode())
    with pytest.raises(UserError, match=rf"memory://bucket/runs/e/{NAME}: (not a list|of version)"):
        machine(tmp_path, "one").pull("e", EVAL)
