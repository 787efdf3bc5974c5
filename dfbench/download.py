"""One file from the network, by HTTPS alone, kept only where its checksum is the expected one."""

from __future__ import annotations

import hashlib
import http.client
import urllib.parse
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from dfbench.files import whole
from dfbench.progress import Progress

TIMEOUT_S = 4.0  # of connecting, and of each wait for more
LARGEST = 2_000_000_000  # bytes
SCHEMES = ("https",)
_PIECE = 1 << 20  # bytes


class DownloadError(Exception):
    """A download that gave no file; the message says why, and not from where."""


@dataclass(frozen=True)
class Checksum:
    """The digest of a file as its publisher gives it."""

    algorithm: Literal["sha256", "md5"]
    digest: str

    def matches(self, path: Path) -> bool:
        """Return whether there is such a file, with this content."""
        if not path.is_file():
            return False
        with path.open("rb") as file:
            return hashlib.file_digest(file, self.algorithm).hexdigest() == self.digest


def download(
    url: str,
    path: Path,
    checksum: Checksum,
    *,
    largest: int = LARGEST,
    progress: Progress | None = None,
) -> None:
    """Fetch a file into place, whole or not at all; `progress` counts bytes.

    Raises:
        DownloadError: No network, a refusal, a time-out, a way that is not HTTPS, or content that
            is not the expected one.
    """
    _require_scheme(url)
    try:
        with whole(path) as unfinished:
            _fetch(url, unfinished, largest=largest, progress=progress)
            if not checksum.matches(unfinished):
                raise DownloadError(
                    f"the file at {url} is not the expected one ({checksum.algorithm})"
                )
    except (OSError, http.client.HTTPException) as error:
        # Not with a path: what is said here may come to stand in cards.
        reason = getattr(error, "reason", None) or getattr(error, "strerror", None) or error
        raise DownloadError(f"download failed: {reason}") from error


def _require_scheme(url: str) -> None:
    scheme = urllib.parse.urlsplit(url).scheme
    if scheme not in SCHEMES:
        raise DownloadError(f"download failed: it would go by {scheme or 'no'}: and not by https:")


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a server to another place only where the way there is as good."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        _require_scheme(newurl)
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _fetch(url: str, path: Path, *, largest: int, progress: Progress | None) -> None:
    opener = urllib.request.build_opener(_Redirects)
    with opener.open(url, timeout=TIMEOUT_S) as answer, path.open("wb") as file:
        # What a server announces; its checksum is not said here, so nothing rests on the length.
        total, done = getattr(answer, "length", None), 0
        while (piece := answer.read(_PIECE)) and done <= largest:
            file.write(piece)
            done += len(piece)
            if progress is not None and total:
                progress(done, total)
