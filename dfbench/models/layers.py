"""Layers that the models share: batch normalisation over all devices, separable convolution."""

# mypy: disallow-subclassing-any=False, disallow-untyped-calls=False
from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp
from flax import nnx
from jax import Array, lax
from jaxtyping import Float

from dfbench.config import ModelConfig
from dfbench.errors import UserError
from dfbench.models import lowering
from dfbench.models.cam import feature_map
from dfbench.models.names import dotted

_lecun_normal = nnx.initializers.lecun_normal()
AXIS = "batch"  # name of the device axis, which a training step must bind
_SPATIAL = (0, 1, 2)


class BatchNorm(nnx.Module):
    """Batch normalisation whose statistics, in training, are of the batch over all devices.

    Statistics and arithmetic are float32 whatever the activations are (`flax.nnx.BatchNorm`
    rounds its running averages to the activations' type), and the gradient is written out:
    it needs fewer passes over the activations than the one autodiff finds. Running variance
    is the biased one. In training the call must be under `pmap`/`shard_map` with axis "batch".

    The running averages are without bias towards where they start, as Adam's moments are (Kingma &
    Ba 2015): with momentum 0.99 the usual ones still are mostly their initial zeros and ones after
    a hundred steps, which is a whole training on a small dataset. `seen` is the averages' share
    that comes from data; at 1, as in imported weights, the rule is the usual one.
    """

    def __init__(self, channels: int, *, momentum: float, epsilon: float) -> None:
        self.scale = nnx.Param(jnp.ones(channels, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(channels, jnp.float32))
        self.mean = nnx.BatchStat(jnp.zeros(channels, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(channels, jnp.float32))
        self.seen = nnx.BatchStat(jnp.zeros((), jnp.float32))
        self.momentum = momentum
        self.epsilon = epsilon
        self.use_running_average = False  # set by train() and eval()

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Array:
        """Normalise each channel; the result has the type of `x`."""
        scale, bias = self.scale[...], self.bias[...]
        if self.use_running_average:
            factor = scale * lax.rsqrt(self.var[...] + self.epsilon)
            return _affine(x, factor, bias - self.mean[...] * factor)
        y, mean, var = _normalise(x, scale, bias, self.epsilon)
        new = 1 - self.momentum
        seen = self.seen[...] * self.momentum + new
        for running, batch in ((self.mean, mean), (self.var, var)):
            change = lax.stop_gradient(batch) - running[...]
            later = running[...] + jnp.broadcast_to(new / seen, change.shape) * change
            running.set_value(later)  # `running[...] =` asks where it lies, which takes long
        self.seen.set_value(seen)
        return y


def freeze_statistics(model: nnx.Module, frozen: Callable[[str], bool]) -> None:
    """Let the batch norms whose dotted name is `frozen` keep their running statistics in training.

    They normalise by those too. To be called after `model.train()`, which frees all of them.
    """
    for path, module in nnx.iter_modules(model):
        if isinstance(module, BatchNorm):
            module.use_running_average = frozen(dotted(path))


def _wide(channels: Array) -> Array:
    return channels[None, None, None, :]


def _affine(x: Array, factor: Array, shift: Array) -> Array:
    return (x.astype(jnp.float32) * _wide(factor) + _wide(shift)).astype(x.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def _normalise(x: Array, scale: Array, bias: Array, epsilon: float) -> tuple[Array, Array, Array]:
    """Return the normalised x, and the mean and variance over batch, space and devices."""
    return _normalise_forward(x, scale, bias, epsilon)[0]


def _normalise_forward(
    x: Array, scale: Array, bias: Array, epsilon: float
) -> tuple[tuple[Array, Array, Array], tuple[Array, ...]]:
    wide = x.astype(jnp.float32)
    moments = jnp.stack([jnp.mean(wide, _SPATIAL), jnp.mean(wide * wide, _SPATIAL)])
    mean, square = lax.pmean(moments, AXIS)
    var = jnp.maximum(square - mean * mean, 0.0)  # rounding can make it negative
    inverse = lax.rsqrt(var + epsilon)
    factor = scale * inverse
    return (_affine(x, factor, bias - mean * factor), mean, var), (x, scale, mean, inverse)


def _normalise_backward(
    epsilon: float, saved: tuple[Array, ...], gradients: tuple[Array, Array, Array]
) -> tuple[Array, Array, Array]:
    x, scale, mean, inverse = saved
    gradient = gradients[0].astype(jnp.float32)  # mean and var only feed running averages
    centred = x.astype(jnp.float32) - _wide(mean)
    grad_bias = jnp.sum(gradient, _SPATIAL)
    grad_scale = jnp.sum(gradient * centred, _SPATIAL) * inverse
    count = x.size // x.shape[-1]
    shared = lax.pmean(jnp.stack([grad_bias, grad_scale]), AXIS) / count
    # dx = scale * inverse * (dy - mean(dy) - xhat * mean(dy * xhat))
    slope = _wide(shared[1] * inverse)
    grad_x = _wide(scale * inverse) * (gradient - _wide(shared[0]) - centred * slope)
    return grad_x.astype(x.dtype), grad_scale, grad_bias


_normalise.defvjp(_normalise_forward, _normalise_backward)


def drop(x: Array, rate: float, rngs: nnx.Rngs | None, shape: tuple[int, ...]) -> Array:
    """Set a share of `x` [batch, ...] to 0 and scale up the rest.

    The mask, of `shape` an example (1: shared along it), is drawn for the batch over all devices.

    Raises:
        ValueError: No `rngs`.
    """
    if rngs is None:
        raise ValueError("dropout needs rngs in training")
    batch = x.shape[0]
    everywhere = (lax.axis_size(AXIS) * batch, *shape)
    keep = jax.random.bernoulli(rngs.dropout(), 1 - rate, everywhere)
    here = lax.dynamic_slice_in_dim(keep, lax.axis_index(AXIS) * batch, batch)
    dropped: Array = jnp.where(here, x / (1 - rate), jnp.zeros_like(x))
    return dropped


def pool(
    x: Float[Array, "batch height width channel"], how: Literal["average", "max"]
) -> Float[Array, "batch channel"]:
    """Return one float32 number a channel."""
    reduce = jnp.mean if how == "average" else jnp.max
    return reduce(feature_map(x).astype(jnp.float32), (1, 2))


class Dropout(nnx.Module):
    """Dropout whose mask is drawn for the batch over all devices: their number changes nothing.

    Where it drops, the call must be under `pmap`/`shard_map` with axis "batch".
    """

    def __init__(self, rate: float) -> None:
        self.rate = rate
        self.deterministic = False  # set by train() and eval()

    def __call__(
        self, x: Float[Array, "batch feature"], *, rngs: nnx.Rngs | None
    ) -> Float[Array, "batch feature"]:
        """Set a share of the features to 0 and scale up the others; `rngs` needs "dropout".

        Raises:
            ValueError: No `rngs` although something is dropped.
        """
        if self.deterministic or self.rate == 0:
            return x
        return drop(x, self.rate, rngs, x.shape[1:])


class Head(nnx.Module):
    """Dense layers from a network's features to the logit of P(fake), a dropout before each.

    `config.head` replaces the hidden layers of the network's own head: its widths, with ReLU.
    Hidden layers work in `config.dtype`, the last one in float32.

    Args:
        features: Numbers an image.
        config: Of it `head`, `head_dropout`, `dropout` and `dtype`.
        widths: Of the hidden layers of the network's own head.
        activation: After each of those.
        outputs: 1, or 2 (real, fake) whose difference is the logit.
        init: Of the kernels; biases start at zero.
        rngs: Needs the stream "params".

    Raises:
        UserError: Not as many entries in `head_dropout` as dense layers.
    """

    def __init__(
        self,
        features: int,
        config: ModelConfig,
        *,
        widths: tuple[int, ...] = (),
        activation: Callable[[Array], Array] = nnx.relu,
        outputs: Literal[1, 2] = 1,
        init: nnx.Initializer = _lecun_normal,
        rngs: nnx.Rngs,
    ) -> None:
        if config.head is not None:
            widths, activation = config.head, nnx.relu
        rates = config.head_dropout or (config.dropout,) * (len(widths) + 1)
        if len(rates) != len(widths) + 1:
            raise UserError(
                f"model.head_dropout has {len(rates)} entries, but the head of '{config.name}' has "
                f"{len(widths) + 1} dense layers (hidden ones {list(widths)}, and the output)"
            )
        self.dropouts = nnx.List([Dropout(rate) for rate in rates])
        dtype, sizes = jnp.dtype(config.dtype), (features, *widths)
        self.hidden = nnx.List(
            [nnx.Linear(a, b, dtype=dtype, kernel_init=init, rngs=rngs) for a, b in pairwise(sizes)]
        )
        self.output = nnx.Linear(sizes[-1], outputs, dtype=jnp.float32, kernel_init=init, rngs=rngs)
        self.activation = activation

    def __call__(
        self, x: Float[Array, "batch feature"], *, rngs: nnx.Rngs | None
    ) -> Float[Array, " batch"]:
        """Return the logits of P(fake), float32; `rngs` as for `Dropout`."""
        for dropout, dense in zip(self.dropouts, self.hidden, strict=False):
            x = self.activation(dense(dropout(x, rngs=rngs)))
        x = self.dropouts[-1](x.astype(jnp.float32), rngs=rngs)
        outputs: Array = self.output(x)
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs[:, 1] - outputs[:, 0]


def drawn_flat(initializer: nnx.Initializer) -> nnx.Initializer:
    """Return an initializer that draws a kernel [h, w, in, out] as [h * w, in, out].

    The numbers are the same; on a CPU, XLA compiles the draw in four dimensions four times slower.
    """

    def init(key: Array, shape: tuple[int, ...], *args: Any, **kwargs: Any) -> Array:
        flat = (shape[0] * shape[1], *shape[2:])
        kernel: Array = initializer(key, flat, *args, **kwargs).reshape(shape)
        return kernel

    return init


_he_normal = drawn_flat(nnx.initializers.he_normal())


class Conv(nnx.Module):
    """Convolution of all channels by square kernels, without bias unless told; kernel He-normal."""

    def __init__(
        self,
        channels: int,
        out: int,
        side: int,
        *,
        stride: int = 1,
        padding: int = 0,
        bias: bool = False,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        shape = (side, side, channels, out)
        self.kernel = nnx.Param(_he_normal(rngs.params(), shape, jnp.float32))
        self.bias = nnx.Param(jnp.zeros(out, jnp.float32)) if bias else None
        self.stride, self.padding = stride, padding
        self.dtype = dtype

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Array:
        """Convolve; zeros lie beyond the border."""
        kernel = self.kernel[...].astype(self.dtype)
        y = lowering.convolution(x, kernel, stride=self.stride, padding=self.padding)
        return y if self.bias is None else y + _wide(self.bias[...].astype(self.dtype))


class Pointwise(nnx.Module):
    """1x1 convolution, without bias unless told; kernel He-normal."""

    def __init__(
        self,
        channels: int,
        out: int,
        *,
        stride: int = 1,
        bias: bool = False,
        dtype: jnp.dtype,
        rngs: nnx.Rngs,
    ) -> None:
        self.kernel = nnx.Param(_he_normal(rngs.params(), (1, 1, channels, out), jnp.float32))
        self.bias = nnx.Param(jnp.zeros(out, jnp.float32)) if bias else None
        self.stride = stride
        self.dtype = dtype

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Array:
        """Mix the channels at each (strided) position."""
        mixed = lowering.pointwise(x, self.kernel[...].astype(self.dtype), self.stride)
        return mixed if self.bias is None else mixed + _wide(self.bias[...].astype(self.dtype))


class Depthwise(nnx.Module):
    """3x3 convolution of each channel (or each pair), padding 1, no bias; kernel He-normal."""

    def __init__(
        self, channels: int, *, group: Literal[1, 2] = 1, dtype: jnp.dtype, rngs: nnx.Rngs
    ) -> None:
        self.kernel = nnx.Param(_he_normal(rngs.params(), (3, 3, group, channels), jnp.float32))
        self.group = group
        self.dtype = dtype

    def __call__(self, x: Float[Array, "batch height width channel"]) -> Array:
        """Convolve each channel, or both channels of each pair, with its own kernel."""
        convolve = lowering.depthwise3x3 if self.group == 1 else lowering.grouped3x3
        return convolve(x, self.kernel[...].astype(self.dtype))
