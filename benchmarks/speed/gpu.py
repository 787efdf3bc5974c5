"""Everything that is measured on a GPU, unattended: `python benchmarks/speed/gpu.py --minutes N`.

The rows that matter most come first; what the time does not suffice for is said, and left for
another run (`--list` names the stages, `gpu.py STAGE ..` runs some). A stage that fails is a line
in the summary and not the end. Pages go to benchmarks/speed/results.

It needs JAX with CUDA and what dfbench's networks import, PyTorch with CUDA to compare with, and no
dataset, decoder or detector. dfbench need not be installed: the checkout is enough. The exit status
is 2 where there is nothing to measure on, 1 where a stage failed or missed a target.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
NEEDED = ("numpy", "jax", "flax", "optax", "jaxtyping", "msgspec", "tomli_w", "platformdirs")
FIRST = ["xception", "resnet50v1_5", "meso4"]  # those with targets of their own, and the smallest
OTHERS = [
    *("light_xception", "midway_xception", "light_midway_xception", "mesoinception4"),
    *("resnet18", "resnet34", "resnet50", "resnet50v2", "small_cnn"),
]
SIZE, SIZES = ["--batches", "128"], ["--batches", "32", "64", "256", "512"]
AGAINST = ["--sides", "dfbench", "channels_last", "compiled"]
SUMS = ["--forms", "depthwise3x3=sums", "grouped3x3=sums"]
GRACE = 60.0  # s after its time for a stage to write its page


@dataclass(frozen=True)
class Stage:
    """A command, and the share of all time that it may take."""

    name: str
    what: str
    script: str
    options: list[str]
    share: float = 1.0

    def command(self, minutes: float, output: Path) -> list[str]:
        """Return it, with a limit."""
        common = ["--device", "gpu", "--minutes", f"{minutes:.2f}"]
        common += ["--output", str(output), "--label", self.name]
        return [sys.executable, str(HERE / self.script), *self.options, *common]


def stages(torch: bool) -> list[Stage]:
    """Return all, the most important first."""
    half = ["--dtype", "bfloat16"]
    against = AGAINST if torch else ["--sides", "dfbench"]
    step, scoring, forms = "train_step.py", "inference.py", "lowerings.py"
    ours, fixed = ["--sides", "dfbench"], ["--sides", "dfbench", "deterministic", "fixed"]
    return [
        Stage("targets", "steps", step, [*FIRST, *half, *against, *SIZE, "--roofline"]),
        Stage("scoring", "crops to logits", scoring, [*FIRST, *half, *against, *SIZE]),
        Stage("forms", "forms of the operations", forms, [*half, "--batch", "128"], share=0.25),
        Stage("sums", "a network in other forms", step, ["xception", *half, *ours, *SIZE, *SUMS]),
        Stage("determinism", "its cost", step, [*FIRST, *half, *fixed, *SIZE]),
        Stage("sizes", "steps by batch", step, [*FIRST, *half, *against, *SIZES, "--roofline"]),
        Stage("networks", "steps", step, [*OTHERS, *half, *against, *SIZE, "--roofline"]),
        Stage("scoring-sizes", "by batch", scoring, [*FIRST, *half, *against, *SIZES]),
        Stage("scoring-networks", "crops to logits", scoring, [*OTHERS, *half, *against, *SIZE]),
        Stage("networks-sizes", "by batch", step, [*OTHERS, *half, *against, *SIZES]),
        Stage("float32", "steps in float32 (TF32)", step, [*FIRST, *against, *SIZE]),
        Stage("forms-float32", "forms of the operations", forms, ["--batch", "128"]),
    ]


def run(stage: Stage, minutes: float, output: Path) -> int | None:
    """Run a stage; return its exit status, None where it had to be ended."""
    paths = [str(HERE.parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    process = subprocess.Popen(stage.command(minutes, output), env=environment)
    try:
        return process.wait(60 * minutes + GRACE)
    except subprocess.TimeoutExpired:
        return None
    finally:
        if process.poll() is None:
            process.terminate()  # it writes what it has
            try:
                process.wait(GRACE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def lacking() -> str:
    """Say what there is to install, or that there is no GPU; "" where all is there."""
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        return f"these Python packages are not installed: {', '.join(missing)}"
    if shutil.which("nvidia-smi") is None:
        return "there is no NVIDIA driver here: nvidia-smi is not found"
    found = subprocess.run(["nvidia-smi", "-L"], check=False, capture_output=True, text=True)
    if found.returncode or not found.stdout.strip():
        return f"nvidia-smi finds no GPU: {(found.stderr or found.stdout).strip()}"
    print(found.stdout.strip(), flush=True)
    look = "import jax; print(jax.devices()[0].platform)"
    environment = {**os.environ, "XLA_PYTHON_CLIENT_PREALLOCATE": "false"}
    command = [sys.executable, "-c", look]
    seen = subprocess.run(command, check=False, capture_output=True, text=True, env=environment)
    if seen.stdout.split()[-1:] != ["gpu"]:
        last = (seen.stderr.strip().splitlines() or [seen.stdout.strip()])[-1]
        return f"JAX finds no GPU (install jax[cuda]): {last}"
    return ""


def summary(rows: Sequence[Sequence[str]]) -> str:
    """Return the lines of a table."""
    heads = ["stage", "what", "result", "minutes", "page"]
    return "\n".join(f"| {' | '.join(row)} |" for row in (heads, ["---"] * len(heads), *rows))


def measure(chosen: Sequence[Stage], minutes: float, output: Path) -> tuple[list[list[str]], bool]:
    """Run the stages in the time; return the summary's rows, and whether all is well."""
    end = time.monotonic() + 60 * minutes
    rows, well = [], True
    for stage in chosen:
        left = (end - time.monotonic()) / 60
        if left <= 0:
            rows.append([stage.name, stage.what, "not begun", "-", "-"])
            continue
        start = time.time()
        print(f"\n== {stage.name}: {stage.what} ({left:.0f} min left)", flush=True)
        status = run(stage, min(left, stage.share * minutes), output)
        results = {0: "met", 1: "**missed**", None: "**ended, out of time**"}
        well &= status == 0
        pages = output.glob(f"*-{stage.name}-*.md")
        new = sorted(path.name for path in pages if path.stat().st_mtime >= start)
        took = f"{(time.time() - start) / 60:.1f}"
        result = results.get(status, f"**failed ({status})**")
        rows.append([stage.name, stage.what, result, took, ", ".join(new) or "-"])
    return rows, well


def main(given: Sequence[str]) -> int:
    """Run the stages that there is time for; print the summary."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split(":")[0])
    parser.add_argument("stages", nargs="*", metavar="STAGE", help="default: all")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--output", type=Path, default=HERE / "results", help="folder of the pages")
    parser.add_argument("--list", action="store_true", help="name the stages, and run none")
    options = parser.parse_args(given)
    every = stages(importlib.util.find_spec("torch") is not None)
    unknown = set(options.stages) - {stage.name for stage in every}
    if unknown:
        parser.error(f"no such stage: {', '.join(sorted(unknown))} (--list names them)")
    chosen = [stage for stage in every if not options.stages or stage.name in options.stages]
    if options.list:
        for stage in chosen:
            print(f"{stage.name}: {stage.what}: {stage.script} {' '.join(stage.options)}")
        return 0
    why = lacking()
    if why:
        print(why, file=sys.stderr)
        return 2
    if importlib.util.find_spec("torch") is None:
        print("PyTorch is not installed: dfbench alone is measured", file=sys.stderr)
    rows, well = measure(chosen, options.minutes, options.output)
    print(f"\n{summary(rows)}")
    return 0 if well else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
