"""Which files fit which model."""

from __future__ import annotations

from collections.abc import Collection

from dfbench.errors import UserError
from dfbench.models.weights import meso_names, resnet_names, xception_names
from dfbench.models.weights.layout import Layout, MakeLayout
from dfbench.models.weights.source import Weights

_LAYOUTS: dict[str, dict[str, MakeLayout]] = {
    "xception": {"torch": xception_names.torch_layout, "keras": xception_names.keras_layout},
    "light_xception": {"torch": xception_names.torch_layout},
    "midway_xception": {"torch": xception_names.torch_layout},
    "light_midway_xception": {"torch": xception_names.torch_layout},
    "resnet18": {"torch": resnet_names.torch_layout},
    "resnet34": {"torch": resnet_names.torch_layout},
    "resnet50": {"keras": resnet_names.keras_layout},
    "resnet50v1_5": {"torch": resnet_names.torch_layout},
    "resnet50v2": {"keras": resnet_names.keras_v2_layout},
    "meso4": {"keras": meso_names.meso4_layout},
    "mesoinception4": {"keras": meso_names.mesoinception4_layout},
}
# All shapes fit, but the strides are elsewhere.
_OTHER_MODEL = {("resnet50", "torch"): "resnet50v1_5", ("resnet50v1_5", "keras"): "resnet50"}
_FORMATS = {"torch": "PyTorch's names (.safetensors)", "keras": "Keras' layers (.h5)"}


def find_layout(model: str, weights: Weights, ours: Collection[str]) -> Layout:
    """Return how `model`, with the layers `ours`, is laid out in files like this one.

    Raises:
        UserError: Files of this origin do not fit the model.
    """
    fitting = _LAYOUTS.get(model, {})
    if make := fitting.get(weights.origin):
        return make(ours)
    has = f"{weights.path}: has {_FORMATS[weights.origin]}"
    if other := _OTHER_MODEL.get((model, weights.origin)):
        where = "3x3" if weights.origin == "torch" else "first 1x1"
        raise UserError(
            f"{has}, where a ResNet-50 strides in the {where} convolution: that is the model "
            f"'{other}', not '{model}'"
        )
    if not fitting:
        known = ", ".join(sorted(_LAYOUTS))
        raise UserError(f"{has}, but the model '{model}' can take no files (can: {known})")
    raise UserError(f"{has}, but '{model}' takes files with {_FORMATS[next(iter(fitting))]} only")
