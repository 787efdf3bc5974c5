"""Weights by name: fetched once, checked, kept; what is said where there are none."""

from __future__ import annotations

import hashlib
import os
import re
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.train import assert_trees_equal

from dfbench import paths
from dfbench.download import Checksum
from dfbench.errors import UserError
from dfbench.models.registry import model_names
from dfbench.models.weights import catalog
from dfbench.models.weights.catalog import Pretrained, available, weights_path
from dfbench.models.weights.load import load_weights


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DFBENCH_CACHE", str(tmp_path / "cache"))
    return paths.weights_dir()


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: Any, **kwargs: Any) -> None:
        raise urllib.error.URLError("no network in tests")

    monkeypatch.setattr(urllib.request.OpenerDirector, "open", refuse)


def _offer(monkeypatch: pytest.MonkeyPatch, path: Path, content: bytes) -> Path:
    """Let `content` be the weights of Meso-4, with the checksum of what is in `path`."""
    digest = hashlib.md5(path.read_bytes()).hexdigest()
    path.write_bytes(content)
    monkeypatch.setattr("dfbench.download.SCHEMES", ("file",))
    offered = Pretrained(path.as_uri(), Checksum("md5", digest), path.name)
    monkeypatch.setitem(catalog._CATALOG, "meso4", {"imagenet": offered})
    return path


def test_a_file_is_fetched_once(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.h5").write_bytes(b"weights")
    remote = _offer(monkeypatch, tmp_path / "w.h5", b"weights")
    assert weights_path("meso4", "imagenet") == cache / "w.h5"
    remote.unlink()
    assert weights_path("meso4", "imagenet").read_bytes() == b"weights"
    (cache / "w.h5").write_bytes(b"damaged")
    with pytest.raises(UserError, match="download failed"):
        weights_path("meso4", "imagenet")


def test_a_damaged_download_is_not_kept(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "w.h5").write_bytes(b"weights")
    _offer(monkeypatch, tmp_path / "w.h5", b"weightz")
    with pytest.raises(UserError, match=r"not the expected one \(md5\)"):
        weights_path("meso4", "imagenet")
    assert list(cache.iterdir()) == []


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("name", ["xception", "resnet50", "resnet50v2"])
def test_offline_the_url_and_the_place_are_said(cache: Path, name: str) -> None:
    start = time.monotonic()
    with pytest.raises(UserError, match="no network in tests") as caught:
        weights_path(name, "imagenet")
    assert time.monotonic() - start < 5
    message = str(caught.value)
    file = f"{name}_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert message.startswith("https://storage.googleapis.com/tensorflow/keras-applications/")
    assert f"{file}: " in message
    assert f"put it at {cache / file}" in message
    assert "--init FILE" in message


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("model", "theirs"),
    [("resnet18", "resnet18"), ("resnet34", "resnet34"), ("resnet50v1_5", "resnet50")],
)
def test_files_of_timm_are_pinned_and_have_names_of_their_own(
    cache: Path, model: str, theirs: str
) -> None:
    wanted = catalog._CATALOG[model]["imagenet"]
    pinned = (
        rf"https://huggingface\.co/timm/{theirs}\.tv_in1k/resolve/[0-9a-f]{{40}}/model\.safetensors"
    )
    assert re.fullmatch(pinned, wanted.url)
    assert wanted.checksum.algorithm == "sha256"
    assert re.fullmatch("[0-9a-f]{64}", wanted.checksum.digest)
    with pytest.raises(UserError, match="no network in tests") as caught:
        weights_path(model, "imagenet")
    assert f"put it at {cache / f'{theirs}.tv_in1k.safetensors'}" in str(caught.value)


@pytest.mark.usefixtures("offline")
def test_urls_and_digests_are_those_of_keras() -> None:
    os.environ["KERAS_BACKEND"] = "jax"
    keras = pytest.importorskip("keras")
    folder = Path(keras.__file__).parent / "src" / "applications"
    for name, module in (
        ("xception", "xception"),
        ("resnet50", "resnet"),
        ("resnet50v2", "resnet"),
    ):
        source = (folder / f"{module}.py").read_text(encoding="utf-8")
        wanted = catalog._CATALOG[name]["imagenet"]
        assert wanted.checksum.algorithm == "md5"
        assert f'"{wanted.checksum.digest}"' in source
        base, _, file = wanted.url.rpartition("/")
        assert base.rpartition("keras-applications")[2].strip("/") + "/" in source
        assert file.removeprefix(name) in source


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize(
    ("model", "init", "message"),
    [
        ("light_xception", "imagenet", "'light_xception' has no 'imagenet' weights .*xception"),
        ("meso4", "imagenet", "'meso4' has no 'imagenet' weights"),
        ("xception", "imagnet", "imagnet: no such weights file; did you mean 'imagenet'?"),
        ("xception", "gone.h5", "gone.h5: no such weights file"),
    ],
)
def test_what_there_is_not(model: str, init: str, message: str) -> None:
    with pytest.raises(UserError, match=message):
        weights_path(model, init)


def test_the_catalogue_is_of_models_there_are() -> None:
    listed = {name for name in model_names() if available(name)}
    assert listed == set(catalog._CATALOG)
    assert {name for name in listed if name.startswith("resnet")} == {
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet50v1_5",
        "resnet50v2",
    }
    assert available("xception") == ("imagenet",)
    assert available("meso4") == ("df",)
    assert available("mesoinception4") == ()
    assert available("keras:VGG16") == ("imagenet",)


def test_keras_keeps_the_weights_of_its_own_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    from dfbench.models import keras_weights

    def imagenet(name: str, side: int) -> tuple[dict[str, Any], dict[str, Any]]:
        assert (name, side) == ("VGG16", 224)
        return {"backbone": {"conv": np.ones(2)}}, {}

    assert weights_path("keras:VGG16", "imagenet") is None
    assert available("keras:VGG16") == ("imagenet",)
    monkeypatch.setattr(keras_weights, "imagenet_weights", imagenet)
    ours = {"backbone": {"conv": np.zeros(2)}, "head": {"output": np.zeros(2)}}
    loaded = load_weights("keras:VGG16", None, ours, {})
    assert_trees_equal(loaded.params, ours | {"backbone": {"conv": np.ones(2)}})
    with pytest.raises(ValueError, match="does not have the layers of its weights"):
        load_weights("keras:VGG16", None, ours | {"backbone": {"other": np.zeros(2)}}, {})
    with pytest.raises(ValueError, match="'meso4' takes its weights from a file"):
        load_weights("meso4", None, {}, {})
