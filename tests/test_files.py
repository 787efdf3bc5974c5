from __future__ import annotations

import errno
import os
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.disk import small_disk

from dfbench.errors import UserError, refused, system_errors
from dfbench.files import to_disk, whole, write_bytes, write_json, write_text

GONE = [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.ESTALE, errno.EROFS, errno.EACCES]


def test_a_file_comes_whole_with_its_folder(tmp_path: Path) -> None:
    write_bytes(tmp_path / "new" / "a.bin", b"1")
    write_text(tmp_path / "new" / "b", "\u00e4\n")
    write_json(tmp_path / "new" / "c.json", {"a": 1})
    assert {p.name: p.read_bytes() for p in (tmp_path / "new").iterdir()} == {
        "a.bin": b"1",
        "b": b"\xc3\xa4\n",
        "c.json": b'{\n "a": 1\n}\n',
    }


def _break_off(path: Path, error: BaseException) -> None:
    with whole(path) as unfinished:
        unfinished.write_text("half")
        raise error


@pytest.mark.parametrize("error", [ValueError("x"), KeyboardInterrupt()])
def test_what_breaks_off_leaves_what_was_there(tmp_path: Path, error: BaseException) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    with pytest.raises(type(error)):
        _break_off(path, error)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert path.read_text() == "old"


@pytest.mark.parametrize("code", GONE)
def test_a_refusal_names_the_file_and_not_the_unfinished_one(tmp_path: Path, code: int) -> None:
    path = tmp_path / "a.parquet"
    with pytest.raises(OSError, match=re.escape(os.strerror(code))) as caught:
        _break_off(path, OSError(code, "as the library has it", "elsewhere"))
    assert (caught.value.errno, caught.value.filename) == (code, str(path))
    assert list(tmp_path.iterdir()) == []


def test_the_disk_has_a_file_before_it_gets_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    write_text(path, "old")
    on_disk: list[tuple[int, str]] = []
    monkeypatch.setattr(
        os, "fsync", lambda file: on_disk.append((os.fstat(file).st_size, path.read_text()))
    )
    write_text(path, "newer")
    assert on_disk == [(5, "old")]
    assert path.read_text() == "newer"


def test_a_disk_that_takes_a_file_and_loses_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a"
    write_text(path, "old")

    def lost(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(os, "fsync", lost)
    with pytest.raises(OSError, match=re.escape(os.strerror(errno.EIO))) as caught:
        write_text(path, "newer")
    assert caught.value.filename == str(path)
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_all_files_of_a_folder_come_to_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_text(tmp_path / "deep" / "er" / "a", "1")
    write_text(tmp_path / "b", "22")
    sizes: list[int] = []
    monkeypatch.setattr(os, "fsync", lambda file: sizes.append(os.fstat(file).st_size))
    to_disk(tmp_path)
    assert sorted(sizes) == [1, 2]


def test_several_write_the_same_file_and_it_is_always_whole(tmp_path: Path) -> None:
    path, texts = tmp_path / "a", [str(n) * 20_000 for n in range(8)]

    def write(text: str) -> None:
        for _ in range(20):
            write_text(path, text)
            assert path.read_text() in texts

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, texts))
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_full_disk_in_the_words_of_a_library(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", kilobytes=400) as disk:
        path = disk / "a.parquet"
        table = pa.table({"a": np.random.default_rng(0).random(200_000)})
        with (
            pytest.raises(UserError, match=rf"^{path}: No space left on device; free some space"),
            system_errors(tmp_path),
            whole(path) as unfinished,
        ):
            pq.write_table(table, unfinished)
        assert list(disk.iterdir()) == []


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (
            ValueError("RESOURCE_EXHAUSTED: 'd/1': No space left on device [code='28']"),
            errno.ENOSPC,
        ),
        (RuntimeError("Failed to flush: Stale file handle"), errno.ESTALE),
        (PermissionError(errno.EACCES, "no", "x"), errno.EACCES),
        (FileNotFoundError(errno.ENOENT, "no", "x"), None),
        (ValueError("shapes"), None),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), None),
    ],
)
def test_what_the_system_refuses_is_told_from_faults(error: Exception, code: int | None) -> None:
    found = refused(error)
    assert (found and found.errno) == code


def test_behind_another_error_it_is_found(tmp_path: Path) -> None:
    try:
        try:
            raise OSError(errno.EDQUOT, "Disk quota exceeded", "x")
        except OSError as error:
            raise RuntimeError("while writing a record") from error
    except RuntimeError as error:
        found = refused(error)
    assert found is not None
    assert (found.errno, found.filename) == (errno.EDQUOT, "x")
    with pytest.raises(UserError, match=r"^x: Disk quota exceeded; free"), system_errors(tmp_path):
        raise found
    with pytest.raises(ValueError, match="shapes"), system_errors(tmp_path):
        raise ValueError("shapes")
    missing = FileNotFoundError(errno.ENOENT, "No such file or directory", "y")
    with pytest.raises(UserError, match=r"^y: No such file .* directory$"), system_errors(tmp_path):
        raise missing
