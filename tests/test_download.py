"""Downloads from this machine: whole and checked, or not at all."""

from __future__ import annotations

import functools
import hashlib
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dfbench.download import Checksum, DownloadError, download

CONTENT = bytes(range(256)) * 10_000  # more than one piece
GOOD = Checksum("sha256", hashlib.sha256(CONTENT).hexdigest())


@pytest.fixture(autouse=True)
def _without_certificates(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dfbench.download.SCHEMES", ("http", "file"))


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, but announces more of `cut.h5` than it sends; `/to/URL` sends to a URL."""

    def log_message(self, *args: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path.startswith("/to/"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to/"))
            self.end_headers()
            return
        if self.path != "/cut.h5":
            super().do_GET()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    (folder / "w.h5").write_bytes(CONTENT)
    handler = functools.partial(Quiet, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


def test_a_good_file_is_kept_and_its_bytes_counted(site: str, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    path = tmp_path / "new" / "w.h5"
    download(
        f"{site}/w.h5", path, GOOD, progress=lambda done, total, note="": seen.append((done, total))
    )
    assert path.read_bytes() == CONTENT
    assert GOOD.matches(path)
    assert seen[-1] == (len(CONTENT), len(CONTENT))
    assert len(seen) == 3
    assert [p.name for p in path.parent.iterdir()] == ["w.h5"]


def test_a_file_url_works_too(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(CONTENT)
    md5 = Checksum("md5", hashlib.md5(CONTENT).hexdigest())
    download((tmp_path / "a").as_uri(), tmp_path / "b", md5)
    assert (tmp_path / "b").read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cut.h5", r"cut\.h5 is not the expected one \(sha256\)|download failed"),
        ("gone.h5", "download failed: .*Not Found|download failed: File not found"),
    ],
)
def test_a_bad_answer_leaves_what_was_there(
    site: str, tmp_path: Path, name: str, message: str
) -> None:
    (tmp_path / "w.h5").write_bytes(b"old")
    with pytest.raises(DownloadError, match=message):
        download(f"{site}/{name}", tmp_path / "w.h5", GOOD)
    assert (tmp_path / "w.h5").read_bytes() == b"old"
    assert len(list(tmp_path.iterdir())) == 1


def test_other_content_and_too_much_of_it(site: str, tmp_path: Path) -> None:
    other = Checksum("md5", "0" * 32)
    with pytest.raises(DownloadError, match=r"w\.h5 is not the expected one \(md5\)"):
        download(f"{site}/w.h5", tmp_path / "w.h5", other)
    with pytest.raises(DownloadError, match="not the expected one"):
        download(f"{site}/w.h5", tmp_path / "w.h5", GOOD, largest=1000)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("way", ["http", "file", "ftp", "data", "HTTP", ""])
def test_another_way_than_https_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    monkeypatch.undo()
    with pytest.raises(DownloadError, match="and not by https"):
        download(f"{way}://127.0.0.1/w.h5", tmp_path / "w.h5", GOOD)


def test_a_server_sends_nobody_to_another_way(
    site: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    download(f"{site}/to/{site}/w.h5", tmp_path / "w.h5", GOOD)
    assert GOOD.matches(tmp_path / "w.h5")
    (tmp_path / "w.h5").unlink()
    (tmp_path / "here").write_bytes(CONTENT)
    monkeypatch.setattr("dfbench.download.SCHEMES", ("http",))
    for elsewhere in (
        (tmp_path / "here").as_uri(),
        "ftp://127.0.0.1/w.h5",
        f"https{site[4:]}/w.h5",
    ):
        with pytest.raises(DownloadError, match=r"download failed: .*(not by https|not allowed)"):
            download(f"{site}/to/{elsewhere}", tmp_path / "w.h5", GOOD)
    assert [p.name for p in tmp_path.iterdir()] == ["here"]


def test_nobody_answers(tmp_path: Path) -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Quiet) as server:
        port = server.server_address[1]
    with pytest.raises(DownloadError, match=r"download failed: .*refused"):
        download(f"http://127.0.0.1:{port}/w.h5", tmp_path / "w.h5", GOOD)
    assert not GOOD.matches(tmp_path / "w.h5")
