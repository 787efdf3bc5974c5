"""Model files of other people that features are made with: found, or fetched once."""

from __future__ import annotations

import bz2
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from dfbench import paths
from dfbench.download import Checksum, DownloadError, download
from dfbench.errors import UserError
from dfbench.files import whole
from dfbench.progress import SILENT, Reporter
from dfbench.results.card import FileHash
from dfbench.results.store import hash_file


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A file that is not part of this package."""

    name: str
    what: str
    url: str
    fetched: Checksum  # of what lies at the URL
    content: Checksum  # of the file itself
    packed: bool  # the URL gives it packed by bzip2
    largest: int  # bytes to fetch
    variable: str  # of the environment, naming another file
    terms: str

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return paths.model_files_dir() / self.name


LANDMARKS = ModelFile(
    name="shape_predictor_68_face_landmarks.dat",
    what="dlib's model of 68 face landmarks",
    url="https://github.com/davisking/dlib-models/raw/master/"
    "shape_predictor_68_face_landmarks.dat.bz2",
    fetched=Checksum("sha256", "7d6637b8f34ddb0c1363e09a4628acb34314019ec3566fd66b80c04dda6980f5"),
    content=Checksum("sha256", "fbdc2cb80eb9aa7a758672cbfdda32ba6300efe9b6e6c7a299ff7e736b11b92f"),
    packed=True,
    largest=80_000_000,
    variable="DFBENCH_LANDMARK_MODEL",
    terms="trained on iBUG 300-W, whose terms exclude commercial use",
)
EMBEDDING = ModelFile(
    name="face_recognition_sface_2021dec.onnx",
    what="the face embedding SFace",
    url="https://media.githubusercontent.com/media/opencv/opencv_zoo/"
    "edef535367a4f8053b5bfb7580935c83772a9639/models/face_recognition_sface/"
    "face_recognition_sface_2021dec.onnx",
    fetched=Checksum("sha256", "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"),
    content=Checksum("sha256", "0ba9fbfa01b5270c96627c4ef784da859931e02f04419c829e83484087c34e79"),
    packed=False,
    largest=50_000_000,
    variable="DFBENCH_EMBEDDING_MODEL",
    terms="Apache-2.0",
)


def find_file(wanted: ModelFile, reporter: Reporter = SILENT) -> tuple[Path, FileHash]:
    """Return a model file and its hash: the one that the environment names, or the cached one.

    Without either it is fetched, once, and its terms are said.

    Raises:
      UserError: the file that was named does not exist, or the download failed.
    """
    given = os.environ.get(wanted.variable)
    if given:
        path = paths.expanded(given)
        if not path.is_file():
            raise UserError(f"{path}: no such file ({wanted.what}, {wanted.variable})")
    else:
        path = wanted.path
        if not wanted.content.matches(path):
            _fetch(wanted, reporter)
    return path, hash_file(path)


def _fetch(wanted: ModelFile, reporter: Reporter) -> None:
    path = wanted.path
    archive = path.with_name(f"{path.name}.bz2") if wanted.packed else path
    try:
        with reporter.bar(f"fetching {archive.name}", "B") as progress:
            download(wanted.url, archive, wanted.fetched, largest=wanted.largest, progress=progress)
        if wanted.packed:
            _unpack(archive, path)
            if not wanted.content.matches(path):
                path.unlink()
                raise DownloadError("what was packed is not the expected file (sha256)")
    except (DownloadError, OSError) as error:
        raise UserError(
            f"{wanted.what} is not there ({error}): fetch {wanted.url} elsewhere, "
            f"{'unpack it, ' if wanted.packed else ''}and put it at {path} or set "
            f"{wanted.variable}"
        ) from error
    reporter.say(f"fetched {wanted.what}: {wanted.terms}")


def _unpack(archive: Path, path: Path) -> None:
    with whole(path) as unfinished, bz2.open(archive) as packed, unfinished.open("wb") as file:
        shutil.copyfileobj(packed, file)
    archive.unlink()
