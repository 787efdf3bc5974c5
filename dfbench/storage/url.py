"""Places that a URL names: object storage, as `s3://bucket/runs`. Nothing heavy is imported."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from dfbench.errors import UserError

SCHEMES = ("s3", "gs", "gcs")  # tested; what else fsspec knows may work
_URL = re.compile(r"(?P<scheme>[A-Za-z][A-Za-z0-9+.-]+):(?P<slashes>/{1,2})(?P<rest>.*)", re.DOTALL)


@dataclass(frozen=True)
class Url:
    """A place in object storage, without a slash at its end."""

    text: str

    def __str__(self) -> str:
        return self.text

    def __truediv__(self, name: str) -> Url:
        """Return a place below."""
        return Url(f"{self.text}/{name}")

    @property
    def scheme(self) -> str:
        """The part before `://`, such as `s3`."""
        return self.text.partition("://")[0]

    @property
    def name(self) -> str:
        """The last part."""
        return self.text.rpartition("/")[2]

    @property
    def parent(self) -> Url:
        """The place one above.

        Raises:
          UserError: a bucket, which has none.
        """
        above = self.text.rpartition("/")[0]
        if above.endswith("/"):
            raise UserError(f"{self}: is a whole bucket; name a folder in it")
        return Url(above)


_stands_for: dict[str, str] = {}


def stands_for(folder: Path, url: Url) -> None:
    """Have `shown` name a folder of the cache by what it is a copy of."""
    _stands_for[str(folder)] = str(url)


def shown(text: object) -> str:
    """Return a text for people: URLs in it instead of the folders that stand for them."""
    found = str(text)
    for folder, url in _stands_for.items():
        found = found.replace(folder, url)
    return found


def place(text: str) -> Path | Url:
    """Return the folder or the URL that an option names.

    Raises:
      UserError: a URL without a bucket, or with a slash too few.
    """
    found = _URL.fullmatch(text)
    if found is None or (found["slashes"] == "/" and found["scheme"].lower() not in SCHEMES):
        return Path(text)
    scheme, rest = found["scheme"].lower(), found["rest"]
    if found["slashes"] == "/":
        raise UserError(f"{text}: a slash is missing: {scheme}://{rest}")
    parts = rest.rstrip("/").split("/")
    if not all(parts) or {".", ".."} & set(parts) or any(c in rest for c in "?#*\0\n"):
        raise UserError(f"{text}: no such place is possible; write {scheme}://BUCKET/FOLDER")
    return Url(f"{scheme}://{'/'.join(parts)}")
