"""From uint8 crops to the model's input, and augmentation; both on the device."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int, Key, UInt8

from dfbench.config import AugmentConfig

if TYPE_CHECKING:
    from dfbench.models.registry import ModelSpec

_BLUR_RADIUS = 3  # px; the kernel covers three of the largest sigma
_BLUR_SIGMA = (0.3, 1.0)  # px
_NOISE_STD = (0.01, 0.05)  # of the range [0, 1]

Images = Float[Array, "batch height width 3"]


def to_unit(images: UInt8[Array, "batch height width 3"], size: int) -> Images:
    """Scale to [0, 1], float32, and resize to `size` px (bilinear, antialiased)."""
    unit = images.astype(jnp.float32) * (1 / 255)
    if images.shape[1:3] == (size, size):
        return unit
    # Two matrix products; the weights are constants of the program.
    shape = (images.shape[0], size, size, 3)
    resized: Images = jax.image.resize(unit, shape, "bilinear", antialias=True)
    return resized


def normalise(images: Images, spec: ModelSpec) -> Images:
    """Subtract the model's mean and divide by its standard deviation."""
    mean = jnp.broadcast_to(jnp.asarray(spec.mean, jnp.float32), (1, 1, 1, 3))
    std = jnp.broadcast_to(jnp.asarray(spec.std, jnp.float32), (1, 1, 1, 3))
    return (images - mean) / std


def prepare_images(images: UInt8[Array, "batch height width 3"], spec: ModelSpec) -> Images:
    """Turn crops of any square size into the model's input, without augmentation."""
    return normalise(to_unit(images, spec.input_size), spec)


def example_keys(
    seed: int, step: Int[Array, ""], positions: Int[Array, " batch"]
) -> Key[Array, " batch"]:
    """Return one random key an example, from its position in the batch over all devices.

    So the number of devices changes nothing about how an example is augmented.
    """
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)


def augment(images: Images, keys: Key[Array, " batch"], config: AugmentConfig) -> Images:
    """Flip, blur or noise, brightness and contrast; each example by its own key.

    Args:
        images: In [0, 1], and so is the result.
        keys: One an example, as of `example_keys`.
        config: Probabilities and ranges. What is 0 costs nothing.
    """
    result: Images = jax.vmap(lambda image, key: _augment_one(image, key, config))(images, keys)
    return result


def _augment_one(
    image: Float[Array, "height width 3"], key: Key[Array, ""], config: AugmentConfig
) -> Float[Array, "height width 3"]:
    keys = jax.random.split(key, 6)
    if config.flip:
        flipped = jax.random.uniform(keys[0]) < config.flip
        image = jnp.where(flipped, image[:, ::-1], image)
    draw = jax.random.uniform(keys[1])  # one draw for both, so that they exclude each other
    if config.blur:
        image = jnp.where(draw < config.blur, _blur(image, keys[2]), image)
    if config.noise:
        noisy = (draw >= config.blur) & (draw < config.blur + config.noise)
        image = jnp.where(noisy, _noise(image, keys[3]), image)
    if config.contrast:
        change = jax.random.uniform(keys[4], (), minval=-config.contrast, maxval=config.contrast)
        mean = jnp.mean(image)
        image = mean + (image - mean) * (1 + change)
    if config.brightness:
        image = image + jax.random.uniform(
            keys[5], (), minval=-config.brightness, maxval=config.brightness
        )
    return jnp.clip(image, 0.0, 1.0)


def _blur(
    image: Float[Array, "height width 3"], key: Key[Array, ""]
) -> Float[Array, "height width 3"]:
    """Gaussian blur of random sigma, border replicated, as shifted multiply-adds."""
    sigma = jax.random.uniform(key, (), minval=_BLUR_SIGMA[0], maxval=_BLUR_SIGMA[1])
    offsets = jnp.arange(-_BLUR_RADIUS, _BLUR_RADIUS + 1, dtype=jnp.float32)
    weights = jax.nn.softmax(-0.5 * (offsets / sigma) ** 2)
    height, width = image.shape[:2]
    pad = (_BLUR_RADIUS, _BLUR_RADIUS)
    tall = jnp.pad(image, (pad, (0, 0), (0, 0)), mode="edge")
    image = sum((tall[i : i + height] * w for i, w in enumerate(weights)), jnp.zeros_like(image))
    wide = jnp.pad(image, ((0, 0), pad, (0, 0)), mode="edge")
    return sum((wide[:, i : i + width] * w for i, w in enumerate(weights)), jnp.zeros_like(image))


def _noise(
    image: Float[Array, "height width 3"], key: Key[Array, ""]
) -> Float[Array, "height width 3"]:
    """Gaussian noise of random standard deviation."""
    first, second = jax.random.split(key)
    std = jax.random.uniform(first, (), minval=_NOISE_STD[0], maxval=_NOISE_STD[1])
    noise = jax.random.normal(second, (image.size,))  # flat: XLA compiles it four times faster
    return image + std * noise.reshape(image.shape)
