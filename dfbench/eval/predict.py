"""Logits of a whole split, on all devices; or features, or places, that they are made of."""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

import functools
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal

import jax
import numpy as np
from flax import nnx
from jaxtyping import Float, Int

from dfbench.errors import UserError
from dfbench.models.cam import evidence
from dfbench.models.registry import ModelSpec
from dfbench.processes import add_up
from dfbench.progress import Progress
from dfbench.train.ahead import AHEAD
from dfbench.train.augment import prepare_images
from dfbench.train.parallel import Batch, pmap_predict, replicate
from dfbench.train.state import Networks, TrainState

Output = Literal["logits", "features", "evidence"]


def predict(
    state: TrainState,
    networks: Networks,
    batches: Iterable[Batch],
    n: int,
    *,
    devices: int | None = None,
    progress: Progress | None = None,
) -> Float[np.ndarray, " n"]:
    """Return the logits of P(fake) of `n` examples, float32, by their `index`.

    Batches are dicts of `image` (uint8 [batch, side, side, 3]), `index` and `mask` (0 = padding);
    they may be of any size and are padded to the first one's, rounded up to the device count. Each
    process brings its share, and gets all logits.

    Args:
        state: Its parameters and running statistics are used.
        networks: Of the same model.
        batches: Each of the `n` examples exactly once.
        n: How many examples there are; indices are 0 to n - 1.
        devices: How many of the local devices; all of them if None.
        progress: Called with the number of examples done.

    Raises:
        UserError: A logit is not finite.
        ValueError: An example is missing, or comes twice.
    """
    logits = _outputs(state, networks, batches, n, devices, progress, "logits")
    if not np.all(np.isfinite(logits)):
        raise UserError(
            "the model's logits are not finite: the training diverged; "
            "train again with a lower learning rate (--set optim.lr=...)"
        )
    return logits


def features(
    state: TrainState,
    networks: Networks,
    batches: Iterable[Batch],
    n: int,
    *,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n feature"]:
    """Return what the network's head takes of each example, float32; arguments as for `predict`.

    Raises:
        UserError: The network has no part `head`.
        ValueError: An example is missing, or comes twice.
    """
    return _outputs(state, networks, batches, n, None, progress, "features")


def evidence_maps(
    state: TrainState,
    networks: Networks,
    batches: Iterable[Batch],
    n: int,
    *,
    progress: Progress | None = None,
) -> Float[np.ndarray, "n map_height map_width"]:
    """Return what each place adds to the logit (`models.cam`), float32; as for `predict`.

    Raises:
        UserError: The network shows no feature map.
        ValueError: An example is missing, or comes twice.
    """
    return _outputs(state, networks, batches, n, None, progress, "evidence")


def _outputs(
    state: TrainState,
    networks: Networks,
    batches: Iterable[Batch],
    n: int,
    devices: int | None,
    progress: Progress | None,
    output: Output,
) -> Float[np.ndarray, "n ..."]:
    count = len(jax.local_devices()[:devices])
    run = _compiled(networks.graphdef_eval, networks.spec, count, output)
    variables = {"params": state.params, "batch_stats": state.batch_stats}
    variables = replicate(variables, count)
    outputs = np.zeros((n,) if output == "logits" else (n, 0), np.float32)
    seen = np.zeros(n, np.int32)
    for values, indices in _in_turn(run, variables, batches, count):
        if outputs.shape[1:] != values.shape[1:]:
            outputs = np.zeros((n, *values.shape[1:]), np.float32)
        outputs[indices] = values
        np.add.at(seen, indices, 1)
        if progress is not None:
            progress(int(seen.sum()), n)
    outputs, seen = add_up(outputs), add_up(seen)
    if np.any(seen != 1):
        wrong = np.flatnonzero(seen != 1)
        raise ValueError(
            f"{len(wrong)} of {n} examples did not come exactly once, first {wrong[0]}"
        )
    return outputs


def _in_turn(
    run: Callable[[Any, Batch], Callable[[], np.ndarray]],
    variables: Any,
    batches: Iterable[Batch],
    devices: int,
) -> Iterator[tuple[Float[np.ndarray, "real ..."], Int[np.ndarray, " real"]]]:
    """Yield the outputs of each batch and the indices they belong to, without the padding.

    They are read late, so that the devices never wait for this process.
    """
    size, waiting = 0, deque[tuple[Callable[[], np.ndarray], Batch]]()

    def read() -> tuple[np.ndarray, np.ndarray]:
        outputs, batch = waiting.popleft()
        real = np.flatnonzero(np.asarray(batch["mask"]) > 0)
        return outputs()[real], np.asarray(batch["index"])[real]

    for batch in batches:
        images = np.asarray(batch["image"])
        size = max(size, -(-len(images) // devices) * devices)
        if len(images) < size:
            images = np.pad(images, [(0, size - len(images)), (0, 0), (0, 0), (0, 0)])
        facts = {name: batch[name] for name in ("mask", "index")}
        waiting.append((run(variables, {"image": images}), facts))
        if len(waiting) > AHEAD:
            yield read()
    while waiting:
        yield read()


class _NoHead(nnx.Module):
    def __call__(self, features: jax.Array, *, rngs: nnx.Rngs | None = None) -> jax.Array:
        del rngs
        return features


def device_predict(
    graphdef: nnx.GraphDef[Any], spec: ModelSpec, output: Output = "logits"
) -> Callable[[Any, Mapping[str, jax.Array]], jax.Array]:
    """Return the per-device function `predict(variables, batch)` of crops of any square size.

    `variables` are `params` and `batch_stats` of a `TrainState`. The call raises UserError where
    features are wanted and the network has no part `head`.
    """

    def predict_share(variables: Any, batch: Mapping[str, jax.Array]) -> jax.Array:
        model = nnx.merge(
            graphdef,
            nnx.State(variables["params"]),
            nnx.State(variables["batch_stats"]),
            copy=True,
        )
        images = prepare_images(batch["image"], spec)
        if output == "evidence":
            return evidence(model, images)
        if output == "features":
            if not hasattr(model, "head"):
                raise UserError(f"the network '{spec.name}' has no part 'head' to take features at")
            model.head = _NoHead()
        outputs: jax.Array = model(images)
        return outputs

    return predict_share


@functools.lru_cache(maxsize=8)
def _compiled(
    graphdef: nnx.GraphDef[Any], spec: ModelSpec, devices: int, output: Output
) -> Callable[[Any, Batch], Callable[[], np.ndarray]]:
    return pmap_predict(device_predict(graphdef, spec, output), devices=devices)
