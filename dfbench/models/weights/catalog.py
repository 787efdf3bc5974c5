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
_TIMM = "https://huggingface.co/timm"


@dataclass(frozen=True)
class Pretrained:
    """A file to fetch."""

    url: str
    checksum: Checksum
    name: str  # under which it is kept

    @property
    def path(self) -> Path:
        """Where it is kept."""
        return paths.weights_dir() / self.name


def _of_keras(folder: str, model: str, md5: str) -> dict[str, Pretrained]:
    # Keras publishes MD5 digests and no others: enough against damage, not against forgery.
    name = f"{model}_{_SUFFIX}"
    return {"imagenet": Pretrained(f"{_KERAS}/{folder}/{name}", Checksum("md5", md5), name)}


def _of_timm(model: str, revision: str, sha256: str) -> dict[str, Pretrained]:
    """Name timm's copy, as safetensors, of the first weights that torchvision published (BSD-3)."""
    url = f"{_TIMM}/{model}.tv_in1k/resolve/{revision}/model.safetensors"
    name = f"{model}.tv_in1k.safetensors"
    return {"imagenet": Pretrained(url, Checksum("sha256", sha256), name)}


_CATALOG = {
    # Afchar et al.'s own, trained on their Deepfake dataset (Apache-2.0); they score P(real):
    # model.init_label = "real".
    "meso4": {
        "df": Pretrained(
            "https://raw.githubusercontent.com/DariusAF/MesoNet/master/weights/Meso4_DF.h5",
            Checksum("sha256", "036ed30d04ffd9c7506f825b97c86aa64915f5818931da96817b169aad790af5"),
            "Meso4_DF.h5",
        )
    },
    "xception": _of_keras("xception", "xception", "b0042744bf5b25fce3cb969f33bebb97"),
    "resnet50": _of_keras("resnet", "resnet50", "4d473c1dd8becc155b73f8504c6f6626"),
    "resnet50v2": _of_keras("resnet", "resnet50v2", "fac2f116257151a9d068a22e544a4917"),
    "resnet18": _of_timm(
        "resnet18",
        "bbd144b3e5565108aad885f145491d11bc6ce807",
        "694f673df6520a3158624e8a89af086f59923ee4cd7436fe5bc3bc71d295ad81",
    ),
    "resnet34": _of_timm(
        "resnet34",
        "1b7b21cca82ff974d341713f777bf740c2db38c4",
        "0bb82595a564991a9d424708b33f5d843f5aaed7f6c0886ff10849ff97022235",
    ),
    "resnet50v1_5": _of_timm(
        "resnet50",
        "78f3ecfdb38e06d9b8397f662e7ab8fee96026fa",
        "5d061a3c593d795bfe682d9b152bafbcf550579873492def3515b46db1189888",
    ),
}
NAMES = tuple(sorted({name for files in _CATALOG.values() for name in files}))


def available(model: str) -> tuple[str, ...]:
    """Return the names of the weights that can be fetched for a model."""
    return ("imagenet",) if model.startswith(KERAS_PREFIX) else tuple(_CATALOG.get(model, ()))


def weights_path(model: str, init: str, *, reporter: Reporter = SILENT) -> Path | None:
    """Return the file of `init`, which is the name of weights, fetched if need be, or a path.

    None stands for weights that Keras fetches, keeps and checks itself.

    Raises:
        UserError: No such weights or file, or the download failed.
    """
    if init not in NAMES:
        path = paths.expanded(init)
        if not path.exists():
            raise UserError(f"{init}: no such weights file{nearest(init, NAMES)}")
        return path
    if model.startswith(KERAS_PREFIX) and init == "imagenet":
        return None
    files = _CATALOG.get(model, {})
    if init not in files:
        raise UserError(_nothing(model, init))
    return _fetched(files[init], reporter)


def _nothing(model: str, init: str) -> str:
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
