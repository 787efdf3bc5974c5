"""Weights that can be asked for by name: where they are, and by what checksum they are known."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from dfbench import paths
from dfbench.download import Checksum, DownloadError, download
from dfbench.errors import UserError, nearest
from dfbench.models.registry import KERAS_PREFIX
from dfbench.progress import SILENT, Reporter

_KERAS = "https://storage.googleapis.com/tensorflow/keras-applications"
_SUFFIX = "weights_tf_dim_ordering_tf_kernels_notop.h5"


@dataclass(frozen=True)
class Pretrained:
    """A file to fetch, without its classifier."""

    url: str
    checksum: Checksum

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return paths.weights_dir() / self.url.rsplit("/", 1)[-1]


def _of_keras(folder: str, model: str, md5: str) -> dict[str, Pretrained]:
    # Keras publishes MD5 digests and no others: enough against damage, not against forgery.
    url = f"{_KERAS}/{folder}/{model}_{_SUFFIX}"
    return {"imagenet": Pretrained(url, Checksum("md5", md5))}


_CATALOG = {
    "xception": _of_keras("xception", "xception", "b0042744bf5b25fce3cb969f33bebb97"),
    "resnet50": _of_keras("resnet", "resnet50", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet50v2": _of_keras("resnet", "resnet50v2", "fac2f116257151a9d068a22e544a4917"),
}
# Published by torchvision as pickles, which are not read.
_TO_CONVERT = ("resnet18", "resnet34", "resnet50v1_5")
NAMES = tuple(sorted({name for files in _CATALOG.values() for name in files}))


def available(model: str) -> tuple[str, ...]:
    """Return the names of the weights that can be fetched for a model."""
    return NAMES if model.startswith(KERAS_PREFIX) else tuple(_CATALOG.get(model, ()))


def weights_path(model: str, init: str, *, reporter: Reporter = SILENT) -> Path | None:
    """Return the file of `init`, which is the name of weights, fetched if need be, or a path.

    None stands for weights that Keras fetches, keeps and checks itself.

    Raises:
        UserError: No such weights or file, or the download failed.
    """
    if init not in NAMES:
        path = Path(init).expanduser()
        if not path.exists():
            raise UserError(f"{init}: no such weights file{nearest(init, NAMES)}")
        return path
    if model.startswith(KERAS_PREFIX):
        return None
    files = _CATALOG.get(model, {})
    if init not in files:
        raise UserError(_nothing(model, init))
    return _fetched(files[init], reporter)


def _nothing(model: str, init: str) -> str:
    if model in _TO_CONVERT:
        return (
            f"no checked download for {model}: convert torchvision's file to safetensors and give "
            "--init FILE"
        )
    known = ", ".join(sorted(name for name, files in _CATALOG.items() if init in files))
    return f"the model '{model}' has no '{init}' weights (with them: {known})"


def _fetched(wanted: Pretrained, reporter: Reporter) -> Path:
    path = wanted.path
    if wanted.checksum.matches(path):
        return path
    try:
        with reporter.bar(f"fetching {path.name}", "B") as progress:
            download(wanted.url, path, wanted.checksum, progress=progress)
    except DownloadError as error:
        raise UserError(
            f"{wanted.url}: {error}; fetch it elsewhere and put it at {path}, or give a file with "
            "--init FILE"
        ) from error
    return path
