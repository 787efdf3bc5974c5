"""Sides of a comparison: dfbench and PyTorch, on which device, by which options.

A side is a process (`turns.py`) that makes a network (`networks.py`). One device: of several GPUs,
the first.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import forms
import roofline
from page import RESULTS
from turns import Answer, Side, Worker, serve

from dfbench.errors import UserError
from dfbench.models.registry import check_name

DFBENCH = "dfbench"
COMPILED = "compiled"
SIDES = {
    DFBENCH: "dfbench",
    "contiguous": "PyTorch contiguous",
    "channels_last": "PyTorch channels-last",
    COMPILED: "torch.compile, channels-last",
    "deterministic": "dfbench, deterministic kernels",
    "fixed": "dfbench, deterministic kernels that are not tuned",
}
# XLA's switches of the last two: the same numbers from one run to the next; and from one
# compilation to the next, too, since no kernel is chosen by measuring.
FLAGS = {
    "deterministic": "--xla_gpu_deterministic_ops=true",
    "fixed": "--xla_gpu_deterministic_ops=true --xla_gpu_autotune_level=0",
}
OURS = (DFBENCH, *FLAGS)
PLATFORMS = {"cpu": "cpu", "gpu": "cuda", "tpu": "tpu"}  # as JAX_PLATFORMS says them
USUAL = ["xception", "light_xception", "midway_xception", "resnet50v1_5", "meso4"]
Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What a process is to run.

    Attributes:
        name: Of the model.
        side: One of `SIDES`.
        images: A step.
        dtype: Of the activations.
        crop: Side of the crops, px; 0: as large as the network's input.
        forms: Of operations, in place of the platform's own: `forms.FORMS`.
        count: Whether to count operations and bytes.
    """

    name: str
    side: str
    images: int
    dtype: Dtype
    crop: int = 0
    forms: dict[str, str] = field(default_factory=dict)
    count: bool = False

    def command(self, script: str, device: Device) -> tuple[list[str], dict[str, str]]:
        """Return what starts the process, and its variables."""
        environment = device.environment()
        if self.side in FLAGS:
            flags = [os.environ.get("XLA_FLAGS", ""), FLAGS[self.side]]
            environment["XLA_FLAGS"] = " ".join(filter(None, flags))
        return [sys.executable, script, "--worker", json.dumps(asdict(self))], environment


@dataclass(frozen=True, kw_only=True)
class Device:
    """Where the sides run.

    Attributes:
        platform: "cpu", "gpu" or "tpu".
        kind: Its name; "" for a CPU.
    """

    platform: str
    kind: str = ""

    @property
    def alone(self) -> bool:
        """Return whether a process has it for itself."""
        return self.platform != "cpu"

    def environment(self) -> dict[str, str]:
        """Return variables of a process that runs on it."""
        return _environment(self.platform)


def _environment(platform: str) -> dict[str, str]:
    # As much as PyTorch may have, and taken as it is needed, not all at once. The older variable
    # is emptied, since JAX takes no two.
    memory = {"XLA_PYTHON_CLIENT_PREALLOCATE": "false", "XLA_CLIENT_MEM_FRACTION": "0.95"}
    memory["XLA_PYTHON_CLIENT_MEM_FRACTION"] = ""
    one = {"CUDA_VISIBLE_DEVICES": os.environ.get("CUDA_VISIBLE_DEVICES", "0").split(",")[0]}
    found = {"TF_CPP_MIN_LOG_LEVEL": "2"}
    if platform != "cpu":
        found |= memory | one
    if platform in PLATFORMS:
        found["JAX_PLATFORMS"] = PLATFORMS[platform]
    return found


def ask(script: str, what: str, environment: Mapping[str, str], limit: float) -> Answer:
    """Ask a process of its own for one of `FACTS`."""
    worker = Worker([sys.executable, script, "--worker", what], environment)
    try:
        return worker.answer(limit)
    finally:
        worker.close()


def find_device(script: str, wanted: str | None, limit: float) -> Device:
    """Ask JAX what it runs on; `limit` is in seconds.

    Raises:
        SystemExit: It finds no device of the platform `wanted`, or a GPU that is there.
    """
    platform = wanted or ("gpu" if shutil.which("nvidia-smi") else "any")
    answer = ask(script, "device", _environment(platform), limit)
    if answer.failed:
        raise SystemExit(f"JAX finds no {platform} (another: --device): {answer.failed}")
    return Device(**answer.facts)


def device_facts() -> dict[str, Any]:
    """Describe the device of this process."""
    import jax

    one = jax.devices()[0]
    kind = "" if one.platform == "cpu" else str(one.device_kind)
    return {"platform": one.platform, "kind": kind}


FACTS: dict[str, Callable[[], dict[str, Any]]] = {
    "device": device_facts,
    "rates": roofline.measure_rates,
}


def work(text: str, make: Callable[[str], Side]) -> None:
    """Be the process that `ask` started, or another, whose side is made of its `text`."""
    if text in FACTS:
        serve(lambda: Side(runs={}, facts=lambda mode: FACTS[text]()))
    else:
        serve(lambda: make(text))


# --- options and pages ----------------------------------------------------------------------------


def parse(
    doc: str | None, given: list[str], shown: list[str], *, crop: int = 0
) -> argparse.Namespace:
    """Read the options that all scripts which compare sides have; `shown` are a script's sides."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    here = shown if importlib.util.find_spec("torch") else [s for s in shown if s in OURS]
    usual = [side for side in here if side not in FLAGS]
    parser.add_argument("models", nargs="*", metavar="MODEL", default=USUAL, help="as in dfbench")
    parser.add_argument("--sides", nargs="+", choices=shown, default=usual)
    parser.add_argument("--dtype", choices=get_args(Dtype), default="float32")
    parser.add_argument("--device", choices=tuple(PLATFORMS), help="default: JAX's own choice")
    parser.add_argument("--batches", type=int, nargs="+", metavar="N", help="images a step")
    parser.add_argument("--crop", type=int, default=crop, metavar="PX", help="0: the network's")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--roofline", action="store_true", help="count, and measure the device")
    parser.add_argument("--forms", type=forms.form, nargs="+", default=[], metavar="OPERATION=FORM")
    parser.add_argument(
        "--warm-up", type=float, default=300, help="seconds to compile in before a side is left out"
    )
    parser.add_argument("--minutes", type=float, default=1e6, help="what is not begun then is not")
    parser.add_argument("--output", type=Path, help="folder of the page", default=RESULTS)
    parser.add_argument("--label", default="", help="in the name of the page")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    options = parser.parse_args(given)
    if options.rounds < 1 or min(options.batches or [1]) < 1 or options.crop < 0:
        parser.error("--rounds and --batches: one at least")
    try:
        for name in options.models:
            check_name(name)
    except UserError as error:
        parser.error(str(error))
    options.sides = [DFBENCH, *(s for s in SIDES if s in options.sides and s != DFBENCH)]
    options.given = given
    return options


def slug(kind: str) -> str:
    """Return a device's name as a part of a file's."""
    return re.sub(r"[^a-z0-9]+", "-", kind.lower()).strip("-")


def setup_of(text: str) -> Setup:
    """Read what `Setup.command` wrote."""
    return Setup(**json.loads(text))
