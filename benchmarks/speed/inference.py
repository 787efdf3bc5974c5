"""From crops to logits: `python benchmarks/speed/inference.py [MODEL ..]`.

What a user gets: crops of 256 px (`--crop`), uint8 in the host's memory, as they were prepared, to
logits in the host's memory, as `dfbench.eval.predict` makes them: sent to the device, resized,
normalised, scored, sent back. `train_step.py` times the compiled network alone, on images that are
there already. PyTorch does the same with crops in pinned memory, and never waits before the end.

On an accelerator with `--dtype bfloat16` the exit status is 1 where dfbench is not 1.3 times as
fast as `torch.compile`; elsewhere where it did not run. The page goes to benchmarks/speed/results;
its img/s are the crops that the device eats a second.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import compare
import forms
import networks
import roofline
import sides
import turns

CROP = 256  # px, of prepared faces
TARGET = 1.3


def our_side(setup: sides.Setup) -> turns.Side:
    """Return the scoring of crops as `dfbench eval` does it."""
    import jax

    from dfbench.eval.predict import device_predict, predict

    forms.use(setup.forms)
    made = networks.make_ours(setup)
    parts, state = made.networks, made.state

    def batches(count: int) -> Iterator[dict[str, Any]]:
        for number in range(count):
            yield {**made.batch, "index": made.batch["index"] + number * setup.images}

    def run(count: int) -> None:
        predict(state, parts, batches(count), count * setup.images)

    def facts(mode: str) -> dict[str, Any]:
        if not setup.count or not mode:
            return {}
        image = made.batch["image"]
        kinds = {"image": jax.ShapeDtypeStruct(image.shape, image.dtype)}
        variables = {"params": state.params, "batch_stats": state.batch_stats}
        call = device_predict(parts.graphdef_eval, parts.spec)
        work = roofline.count(call, variables, kinds)
        return work | {"moved": roofline.compiled_bytes()}

    return turns.Side(runs={"predict": run}, peak=networks.our_peak, facts=facts)


def their_side(setup: sides.Setup) -> turns.Side:
    """Return the same with PyTorch."""
    import torch

    made = networks.make_theirs(setup)
    spec, crop = made.spec, setup.crop or made.spec.input_size
    crops = torch.randint(0, 256, (setup.images, crop, crop, 3), dtype=torch.uint8)
    if made.device == "cuda":
        crops = crops.pin_memory()
    made.module.eval()
    mean, std = (
        torch.tensor(value, device=made.device).expand(3).reshape(3, 1, 1)
        for value in (spec.mean, spec.std)
    )

    def score(images: Any) -> Any:
        x = images.permute(0, 3, 1, 2).float() / 255
        if crop != spec.input_size:
            size = (spec.input_size, spec.input_size)
            x = torch.nn.functional.interpolate(x, size, mode="bilinear", antialias=True)
        return made.module(((x - mean) / std).contiguous(memory_format=made.layout)).float()

    call = made.compiled(score)

    def run(count: int) -> None:
        with torch.inference_mode(), made.narrow():
            logits = [call(crops.to(made.device, non_blocking=True)) for _ in range(count)]
            torch.cat(logits).cpu()

    return turns.Side(runs={"predict": run}, peak=networks.their_peak)


COMPARISON = compare.Comparison(
    script=__file__,
    title="Inference, from crops to logits",
    kind="inference",
    modes={"predict": "crops to logits"},
    target=lambda mode, name: TARGET,
    note="crops in the host's memory to logits there: sent, resized, normalised and scored",
    ours=our_side,
    theirs=their_side,
)

if __name__ == "__main__":
    SHOWN = [side for side in sides.SIDES if side not in sides.FLAGS]
    sys.exit(compare.run(COMPARISON, sides.parse(__doc__, sys.argv[1:], SHOWN, crop=CROP)))
