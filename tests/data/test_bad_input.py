"""Bad raw folders and bad disks: one line that names the file, and nothing that looks finished."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import dfbench
from support.photos import write_photos

from dfbench import cli
from dfbench.data.prepared import MARKER, Prepared, load_prepared
from dfbench.faces.extract import read_shard

SETTINGS = ("--set", "data.detector=none", "--set", "data.crop_size=32", "--jobs", "1")


def run(root: Path, data: Path) -> int:
    return cli.main(["prepare", f"folder:{root}", "--data-dir", str(data), *SETTINGS])


def finished(data: Path) -> list[Path]:
    return list(data.rglob(MARKER))


def prepared(data: Path) -> Prepared:
    (marker,) = finished(data)
    return load_prepared(marker.parent)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return write_photos(tmp_path / "mine", real=4, fake=4)


# --- files ----------------------------------------------------------------------------------------


def test_links_to_nothing_are_reasons(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "real" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "real" / "itself.png").symlink_to("itself.png")
    assert run(root, tmp_path / "data") == 0
    out = capsys.readouterr().out
    assert "no crop: folder/real/gone.png: [Errno 2] No such file" in out
    assert "no crop: folder/real/itself.png: [Errno 40] Too many levels of symbolic links" in out
    assert sum(c.clips for c in prepared(tmp_path / "data").manifest.counts.values()) == 10


def test_a_link_to_a_folder_above_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "real" / "up").symlink_to("..", target_is_directory=True)
    assert run(root, tmp_path / "data") == 2
    printed = capsys.readouterr().err
    assert f"{root}/real/up: a link to a folder above it" in printed
    assert printed.count("\n") == 1
    assert not finished(tmp_path)


def test_links_to_folders_elsewhere_are_followed(root: Path, tmp_path: Path) -> None:
    elsewhere = write_photos(tmp_path / "elsewhere", real=2, fake=1)
    (root / "real" / "alice").symlink_to(elsewhere / "real", target_is_directory=True)
    assert run(root, tmp_path / "data") == 0
    counts = prepared(tmp_path / "data").manifest.counts
    assert sum(count.clips_with_crops for count in counts.values()) == 10


@pytest.mark.parametrize(
    "name",
    ["a b.png", "two\nlines.png", "tab\t.png", "жизнь é 😀.png", '"quoted" %s {}.png', "-x.png"],
)
def test_odd_names_are_names(
    root: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "real" / "real000.png").rename(root / "real" / name)
    (root / "fake" / name).write_text("no picture")
    assert run(root, tmp_path / "data") == 0
    found = prepared(tmp_path / "data")
    splits = [split for split in ("train", "val", "test") if len(found.frames(split))]
    videos = [v for split in splits for v in found.frames(split)["video"].to_pylist()]
    assert f"folder/real/{name}" in videos
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "no crop" in line]
    assert line.endswith(": not an image that can be decoded")


def test_a_name_that_is_no_text_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / "real" / "real000.png").rename(root / "real" / "caf\udce9.png")  # Latin-1
    assert run(root, tmp_path / "data") == 2
    printed = capsys.readouterr().err
    assert r"caf\udce9.png: this name is not UTF-8; rename the file" in printed
    assert printed.count("\n") == 1


# --- permissions ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def as_anyone() -> tuple[str, ...]:
    """A command that runs another without root's right to open what it has no permission for."""
    rights = "-dac_override,-dac_read_search"
    under = ("setpriv", "--bounding-set", rights, "--inh-caps", rights)
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv (util-linux) is not installed")
    if subprocess.run([*under, "true"], capture_output=True, check=False).returncode:
        pytest.skip("rights cannot be given up here")
    return under


def test_a_file_without_permission_is_a_reason(
    root: Path, tmp_path: Path, as_anyone: tuple[str, ...]
) -> None:
    for name in ("closed.png", "closed.mp4"):
        shutil.copy(root / "real" / "real000.png", root / "real" / name)
        (root / "real" / name).chmod(0)
    done = dfbench(
        *("prepare", f"folder:{root}", "--data-dir", tmp_path / "data", *SETTINGS),
        cwd=tmp_path,
        cache=tmp_path / "cache",
        under=as_anyone,
    )
    assert done.returncode == 0, done.stderr
    lines = [line for line in done.stdout.splitlines() if "no crop" in line]
    assert len(lines) == 2
    assert all("closed" in line and "Permission denied" in line for line in lines)


@pytest.mark.parametrize("closed", ["mine/real", "data"])
def test_a_folder_without_permission_is_named(
    root: Path, tmp_path: Path, as_anyone: tuple[str, ...], closed: str
) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / closed).chmod(0)
    done = dfbench(
        *("prepare", f"folder:{root}", "--data-dir", tmp_path / "data", *SETTINGS),
        cwd=tmp_path,
        cache=tmp_path / "cache",
        under=as_anyone,
    )
    (tmp_path / closed).chmod(0o755)
    assert done.returncode == 2, done.stderr
    assert str(tmp_path / closed) in done.stderr.splitlines()[-1]
    assert "Permission denied" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not finished(tmp_path)


# --- disks ----------------------------------------------------------------------------------------


def test_a_data_dir_that_is_a_file_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").touch()
    assert run(root, tmp_path / "data") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    assert last.startswith(f"dfbench: {tmp_path}/data")
    assert "Not a directory" in last


def test_a_name_that_is_too_long_for_the_disk_is_named(
    root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(root, tmp_path / ("x" * 300)) == 2
    assert "File name too long" in capsys.readouterr().err.splitlines()[-1]


def require_unfinished(line: str, data: Path, stage: str) -> None:
    """The line names a file of the stage, and what there is looks finished to nobody."""
    assert line.startswith(f"dfbench: {data}")
    assert stage in line
    assert not finished(data)
    shards = data.glob("tfds/folder/.work-*/[!.]*")
    assert all(read_shard(shard).video for shard in shards)  # each is whole


STAGES = [pytest.param(1, ".work-", id="finding"), pytest.param(40, "array_record", id="packing")]


@pytest.mark.parametrize(("blocks", "stage"), STAGES)
def test_a_file_larger_than_allowed_is_named(
    root: Path, tmp_path: Path, blocks: int, stage: str
) -> None:
    data = tmp_path / "data"
    done = dfbench(
        *("prepare", f"folder:{root}", "--data-dir", data, *SETTINGS),
        cwd=tmp_path,
        cache=tmp_path / "cache",
        under=("sh", "-c", f'ulimit -f {blocks}; exec "$@"', "sh"),
    )
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    require_unfinished(done.stderr.splitlines()[-1], data, stage)
    assert "File too large" in done.stderr
    assert run(root, data) == 0
    assert finished(data)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 1 MB."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(disk)]
    if shutil.which("mount") is None or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


@pytest.mark.parametrize(
    ("kilobytes", "stage"),
    [pytest.param(4, ".work-", id="finding"), pytest.param(100, "array_record", id="packing")],
)
def test_a_full_disk_is_said_and_the_same_command_goes_on(
    root: Path,
    small_disk: Path,
    kilobytes: int,
    stage: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (small_disk / "other").write_bytes(bytes(2**20 - 1024 * kilobytes))
    assert run(root, small_disk / "data") == 2
    last = capsys.readouterr().err.splitlines()[-1]
    require_unfinished(last, small_disk / "data", stage)
    assert last.endswith("No space left on device; free some space, or name another folder")
    (small_disk / "other").unlink()
    assert run(root, small_disk / "data") == 0
    assert finished(small_disk / "data")


@pytest.mark.parametrize(
    "last", ["prepare.write_frames", "prepare.write_manifest", "prepared.to_disk"]
)
def test_a_disk_that_is_full_at_the_end(
    root: Path,
    tmp_path: Path,
    last: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def full(folder: Path, content: object = None) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(f"dfbench.data.{last}", full)
        assert run(root, tmp_path / "data") == 2
    line = capsys.readouterr().err.splitlines()[-1]
    require_unfinished(line, tmp_path / "data", "No space left on device")
    assert run(root, tmp_path / "data") == 0
    assert finished(tmp_path / "data")
