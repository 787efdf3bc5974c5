"""Opening a weights file: by its content, and never by unpickling."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from dfbench.errors import UserError
from dfbench.models.weights.keras_files import read_keras
from dfbench.models.weights.source import Weights
from dfbench.models.weights.torch_files import read_torch

_PICKLES = (".pth", ".pt", ".pkl", ".pickle", ".ckpt", ".bin", ".tar")
_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP, _PICKLE = b"PK\x03\x04", b"\x80"


def read_weights(path: Path) -> Weights:
    """Read a Keras file (HDF5) or a PyTorch state dict (safetensors).

    Raises:
        UserError: No such file, one that would have to be unpickled, or no weights in it.
    """
    if not path.is_file():
        raise UserError(f"{path}: {'a folder, not a' if path.is_dir() else 'no such'} weights file")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror or error}") from error
    if start.startswith(_HDF5):
        return read_keras(path)
    suffix = path.suffix.lower()
    if suffix in _PICKLES:
        raise _refusal(path)
    # After the length of the header, eight bytes, safetensors has JSON.
    if suffix == ".safetensors" or start[8:9] == b"{":
        return read_torch(path)
    if suffix == ".keras":
        raise UserError(
            f"{path}: weights inside a Keras archive; unpack them: unzip {shlex.quote(str(path))} "
            "model.weights.h5"
        )
    if start.startswith((_ZIP, _PICKLE)):
        raise _refusal(path)
    wanted = "not HDF5" if suffix in (".h5", ".hdf5") else "neither HDF5 (.h5) nor safetensors"
    raise UserError(f"{path}: {wanted}{'; the file is empty' if not start else ''}")


def _refusal(path: Path) -> UserError:
    """Return the error that says how to convert a pickle, where its author is trusted."""
    converted = json.dumps(str(path.with_suffix(".safetensors")))
    code = (
        "import torch, safetensors.torch as s; "
        f'd = torch.load({json.dumps(str(path))}, map_location="cpu", weights_only=True); '
        f's.save_file({{k: v.clone() for k, v in d.get("state_dict", d).items()}}, {converted})'
    )
    return UserError(
        f"{path}: pickles can run any code and are not read; convert the file where PyTorch is "
        f"installed: python -c {shlex.quote(code)}"
    )
