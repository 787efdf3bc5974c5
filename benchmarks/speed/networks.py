"""The networks that the scripts beside this file time: dfbench's, and the same in PyTorch.

dfbench has `model.dtype` and Adam; PyTorch autocast where that is bfloat16, and fused Adam; no
augmentation, no dropout. Parameters, the statistics of batch norm and the loss are float32 in both.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sides import COMPILED, OURS, Setup

from dfbench.results.environment import usable_cores

NETWORKS = Path(__file__).resolve().parents[2] / "tests" / "parity" / "torch_networks.py"
# Of each model: its class among the PyTorch builds of the tests, and the arguments.
TORCH_BUILDS: dict[str, tuple[str, dict[str, Any]]] = {
    "xception": ("Xception", {}),
    "resnet50v1_5": ("ResNet", {"bottleneck": True}),
    "meso4": ("Meso4", {}),
    "light_xception": ("Xception", {"middle_blocks": 4}),
    "midway_xception": ("Xception", {"midway": True}),
    "light_midway_xception": ("Xception", {"middle_blocks": 4, "midway": True}),
    "mesoinception4": ("MesoInception4", {}),
    "resnet18": ("ResNet", {"depths": (2, 2, 2, 2)}),
    "resnet34": ("ResNet", {}),
    "resnet50": ("ResNet", {"bottleneck": True, "keras": True}),
    "resnet50v2": ("ResNetV2", {}),
    "small_cnn": ("SmallCnn", {}),
}
LEARNING_RATE = 1e-3


def has_side(name: str, side: str) -> bool:
    """Return whether a model exists on a side."""
    return side in OURS or name in TORCH_BUILDS


# --- dfbench --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Ours:
    """A network of dfbench.

    Attributes:
        config: Of the run.
        networks: Of the configuration.
        state: On the devices, without the optimizer's, which prediction has no memory for.
        batch: NumPy's arrays.
    """

    config: Any
    networks: Any
    state: Any
    batch: dict[str, Any]


def make_ours(setup: Setup) -> Ours:
    """Make the network, its first state, and crops."""
    import numpy as np

    from dfbench.config import AugmentConfig, ModelConfig, OptimConfig, RunConfig
    from dfbench.paths import compile_cache_dir
    from dfbench.train.parallel import enable_compile_cache, replicate, use_cpu_cores
    from dfbench.train.state import create_state, without_optimizer

    use_cpu_cores(setup.images)
    enable_compile_cache(compile_cache_dir())
    config = RunConfig(
        model=ModelConfig(name=setup.name, dropout=0.0, dtype=setup.dtype),
        augment=AugmentConfig(flip=0.0, brightness=0.0, contrast=0.0),
        optim=OptimConfig(lr=LEARNING_RATE),
    )
    state, networks = create_state(config)
    side, size = setup.crop or networks.spec.input_size, setup.images
    rng = np.random.default_rng(0)
    batch = {
        "image": rng.integers(0, 256, (size, side, side, 3), dtype=np.uint8),
        "label": np.arange(size, dtype=np.int32) % 2,
        "index": np.arange(size, dtype=np.int32),
        "mask": np.ones(size, np.float32),
    }
    placed = replicate(without_optimizer(state))
    return Ours(config=config, networks=networks, state=placed, batch=batch)


def our_peak() -> int | None:
    """Return the most bytes that were in use on the device."""
    import jax

    statistics = jax.local_devices()[0].memory_stats() or {}
    peak = statistics.get("peak_bytes_in_use")
    return None if peak is None else int(peak)


# --- PyTorch --------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Theirs:
    """A network of PyTorch, and how to call it.

    Attributes:
        module: Whose parameters are trained.
        compiled: Returns a function that calls it, or what that is compiled to.
        layout: Of images.
        device: "cpu" or "cuda".
        spec: Of dfbench's model.
        narrow: A context in which it works in the activations' type.
    """

    module: Any
    compiled: Callable[[Any], Callable[[Any], Any]]
    layout: Any
    device: str
    spec: Any
    narrow: Callable[[], contextlib.AbstractContextManager[Any]]

    def wait(self) -> None:
        """Return when the device has done everything."""
        import torch

        if self.device == "cuda":
            torch.cuda.synchronize()


def make_theirs(setup: Setup) -> Theirs:
    """Make the network, as fast as PyTorch's own switches make it."""
    import torch

    from dfbench.models.registry import get_model

    device = "cpu" if os.environ.get("JAX_PLATFORMS") == "cpu" else "cuda"
    torch.set_num_threads(usable_cores())
    torch.manual_seed(0)
    torch.backends.cudnn.benchmark = True
    if device == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32, as XLA's default is there
    layout = torch.contiguous_format if setup.side == "contiguous" else torch.channels_last
    module = _torch_network(setup.name).to(device=device, memory_format=layout)

    def narrow() -> contextlib.AbstractContextManager[Any]:
        half = setup.dtype == "bfloat16"
        context: contextlib.AbstractContextManager[Any]
        context = torch.autocast(device, dtype=torch.bfloat16, enabled=half)
        return context

    return Theirs(
        module=module,
        compiled=torch.compile if setup.side == COMPILED else lambda function: function,
        layout=layout,
        device=device,
        spec=get_model(setup.name),
        narrow=narrow,
    )


def their_peak() -> int | None:
    """Return the most bytes that were in use on the device."""
    import torch

    return int(torch.cuda.max_memory_allocated()) if torch.cuda.is_available() else None


def _torch_network(name: str) -> Any:
    spec = importlib.util.spec_from_file_location("torch_networks", NETWORKS)
    assert spec is not None
    assert spec.loader is not None
    networks = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = networks  # torch.compile looks there
    spec.loader.exec_module(networks)
    kind, arguments = TORCH_BUILDS[name]
    return getattr(networks, kind)(**arguments)
