"""Training steps and inference: `python benchmarks/speed/train_step.py [MODEL ..]`.

The compiled step alone, on a batch that is on the device already; `inference.py` times what a user
gets. Where PyTorch is installed (`make parity`), against it: `sides.py` says how, `turns.py` how
they are timed. dfbench starts from uint8 images as in `dfbench train`, PyTorch from normalised
floats. `--roofline` counts what is to be done and measures what the device can do.

On an accelerator with `--dtype bfloat16` the exit status is 1 where a target is missed: at least as
fast as `torch.compile` in training, 1.3 times as fast for Xception and ResNet-50 v1.5, and 1.3
times as fast in inference. Elsewhere it is 1 where dfbench did not run. The page goes to
benchmarks/speed/results.
"""

# mypy: disallow-untyped-calls=False
from __future__ import annotations

import sys
from typing import Any

import compare
import forms
import networks
import roofline
import sides
import turns

TARGETS = {
    ("train", "xception"): 1.3,
    ("train", "resnet50v1_5"): 1.3,
    ("train", ""): 1.0,
    ("infer", ""): 1.3,
}


# --- in the process of a side ---------------------------------------------------------------------


def our_side(setup: sides.Setup) -> turns.Side:
    """Return a training step and a prediction, as `dfbench` runs them."""
    import jax

    from dfbench.eval.predict import device_predict
    from dfbench.train.parallel import place, pmap_predict, pmap_train_step
    from dfbench.train.state import abstract_state, begin_phase
    from dfbench.train.step import make_train_step

    forms.use(setup.forms)
    made = networks.make_ours(setup)
    parts = made.networks
    state: Any = None
    batch = place(made.batch)
    images = {"image": batch["image"]}
    variables = {"params": made.state.params, "batch_stats": made.state.batch_stats}
    device_step = make_train_step(parts, made.config, (1.0, 1.0))
    device_call = device_predict(parts.graphdef_eval, parts.spec)
    step, predict = pmap_train_step(device_step), pmap_predict(device_call)

    def train(steps: int) -> None:
        nonlocal state
        if state is None:  # a copy: a step uses the memory of the state that goes in
            state = begin_phase(jax.tree.map(lambda leaf: leaf.copy(), made.state), parts)
        before = None
        for _ in range(steps):
            state, metrics = step(state, batch)
            jax.block_until_ready(before)  # as the loop does, one step behind
            before = metrics
        jax.block_until_ready((state, before))

    def infer(steps: int) -> None:
        before = None
        for _ in range(steps):
            logits = predict(variables, images)
            if before is not None:
                before()
            before = logits
        assert before is not None
        before()

    def facts(mode: str) -> dict[str, Any]:
        if not setup.count or not mode:
            return {}
        kinds = {name: jax.ShapeDtypeStruct(v.shape, v.dtype) for name, v in made.batch.items()}
        if mode == "train":
            abstract = abstract_state(made.config, optimizer=True)
            work = roofline.count(device_step, abstract, kinds, [abstract])
        else:
            work = roofline.count(device_call, variables, {"image": kinds["image"]})
        return work | {"moved": roofline.compiled_bytes()}

    return turns.Side(runs={"train": train, "infer": infer}, peak=networks.our_peak, facts=facts)


def their_side(setup: sides.Setup) -> turns.Side:
    """Return the same with PyTorch."""
    import torch

    made = networks.make_theirs(setup)
    pixels = made.spec.input_size
    images = torch.rand(setup.images, 3, pixels, pixels, device=made.device)
    images = images.contiguous(memory_format=made.layout)
    labels = (torch.arange(setup.images, device=made.device) % 2).float()
    optimizer = torch.optim.Adam(made.module.parameters(), lr=networks.LEARNING_RATE, fused=True)
    call = made.compiled(made.module)
    loss_of = torch.nn.functional.binary_cross_entropy_with_logits

    def train(steps: int) -> None:
        made.module.train()
        for _ in range(steps):
            optimizer.zero_grad()
            with made.narrow():
                logits = call(images)
            loss_of(logits.float(), labels).backward()
            optimizer.step()
        made.wait()

    def infer(steps: int) -> None:
        made.module.eval()
        with torch.inference_mode(), made.narrow():
            for _ in range(steps):
                call(images).float()
            made.wait()

    return turns.Side(runs={"train": train, "infer": infer}, peak=networks.their_peak)


# --- the script -----------------------------------------------------------------------------------


def target(mode: str, name: str) -> float:
    """Return how many times as fast as `torch.compile` a model is to be."""
    return TARGETS.get((mode, name), TARGETS[mode, ""])


COMPARISON = compare.Comparison(
    script=__file__,
    title="Training steps and inference",
    kind="train-step",
    modes={"infer": "inference", "train": "training step"},  # the first needs less memory
    target=target,
    note="the compiled step alone, on a batch that is on the device",
    ours=our_side,
    theirs=their_side,
)

if __name__ == "__main__":
    sys.exit(compare.run(COMPARISON, sides.parse(__doc__, sys.argv[1:], list(sides.SIDES))))
