"""From uint8 crops to the model's input, and augmentation; both on the device.

Frames are [batch, side, side, 3], or 6 channels with the frame before behind: what happens to one
happens to the other.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Bool, Float, Int, Key, UInt8

from dfbench.config import AugmentConfig
from dfbench.models.inputs import Frames, represent, seen_frames
from dfbench.train.augment_jpeg import random_jpeg
from dfbench.train.augment_warp import random_warp

if TYPE_CHECKING:
    from dfbench.models.registry import ModelSpec

Crops = UInt8[Array, "batch height width frames_times_3"]
Image = Float[Array, "height width frames_times_3"]
# Numbers of an example's keys, by purpose.
_FLIP, _BLUR_OR_NOISE, _BLUR, _NOISE, _CONTRAST, _BRIGHTNESS = range(6)
_FLIP_VERTICAL, _WARP, _WARP_SIZE, _JPEG, _JPEG_QUALITY = range(6, 11)


def to_unit(images: Crops, size: int) -> Frames:
    """Scale to [0, 1], float32, and resize to `size` px (bilinear, antialiased)."""
    unit = images.astype(jnp.float32) * (1 / 255)
    if images.shape[1:3] == (size, size):
        return unit
    # Two matrix products; the weights are constants of the program.
    shape = (images.shape[0], size, size, images.shape[3])
    resized: Frames = jax.image.resize(unit, shape, "bilinear", antialias=True)
    return resized


def to_frames(images: Crops, spec: ModelSpec) -> Frames:
    """Return the frames that a network is shown, in [0, 1] and of its size."""
    return to_unit(seen_frames(images, spec.input), spec.input_size)


def prepare_images(images: Crops, spec: ModelSpec) -> Float[Array, "batch height width channel"]:
    """Turn crops of any square size into the model's input, without augmentation."""
    return represent(to_frames(images, spec), spec)


def example_keys(
    seed: int | Int[Array, ""], step: Int[Array, ""], positions: Int[Array, " batch"]
) -> Key[Array, " batch"]:
    """Return one random key an example, from its position in the batch over all devices.

    So the number of devices changes nothing about how an example is augmented.
    """
    key = jax.random.fold_in(jax.random.key(seed), step)
    return jax.vmap(lambda position: jax.random.fold_in(key, position))(positions)


def augment(images: Frames, keys: Key[Array, " batch"], config: AugmentConfig) -> Frames:
    """Flip, warp, blur or add noise, change contrast and brightness, compress; each by its own key.

    Args:
        images: In [0, 1], and so is the result.
        keys: One an example, as of `example_keys`.
        config: Probabilities and ranges. What is 0 costs nothing.
    """
    if config.flip:
        chosen = _draws(keys, _FLIP) < config.flip
        images = jnp.where(_wide(chosen), images[:, :, ::-1], images)
    if config.flip_vertical:
        chosen = _draws(keys, _FLIP_VERTICAL) < config.flip_vertical
        images = jnp.where(_wide(chosen), images[:, ::-1], images)
    if config.rotate or config.shift or config.shear or config.zoom:
        chosen = _draws(keys, _WARP) < config.warp
        warped = jax.vmap(partial(random_warp, config=config))
        images = _where(chosen, images, warped, _keys(keys, _WARP_SIZE))
    draw = _draws(keys, _BLUR_OR_NOISE)  # one draw for both, so that they exclude each other
    if config.blur:
        blurred = jax.vmap(partial(_blur, sigmas=config.blur_sigma))
        images = _where(draw < config.blur, images, blurred, _keys(keys, _BLUR))
    if config.noise:
        chosen = (draw >= config.blur) & (draw < config.blur + config.noise)
        noisy = jax.vmap(partial(_noise, stds=config.noise_std))
        images = _where(chosen, images, noisy, _keys(keys, _NOISE))
    images = jax.vmap(partial(_colours, config=config))(images, keys)
    if config.jpeg:
        chosen = _draws(keys, _JPEG) < config.jpeg
        compressed = jax.vmap(partial(_jpeg, quality=config.jpeg_quality))
        images = _where(chosen, images, compressed, _keys(keys, _JPEG_QUALITY))
    return images


def _keys(keys: Key[Array, " batch"], number: int) -> Key[Array, " batch"]:
    """Return the keys of one purpose. The first six are split off, as they always were."""
    if number < 6:
        return jax.vmap(lambda key: jax.random.split(key, 6)[number])(keys)
    return jax.vmap(lambda key: jax.random.fold_in(key, number))(keys)


def _draws(keys: Key[Array, " batch"], number: int) -> Float[Array, " batch"]:
    return jax.vmap(jax.random.uniform)(_keys(keys, number))


def _where(
    chosen: Bool[Array, " batch"],
    images: Frames,
    change: Callable[[Frames, Key[Array, " batch"]], Frames],
    keys: Key[Array, " batch"],
) -> Frames:
    """Change the chosen images, each by its key.

    A branch, which is not entered where none is chosen. And a border that XLA does not fuse over:
    on a CPU it would compute each pixel of a warp again for each tap of a blur.
    """

    def changed(images: Frames, keys: Key[Array, " batch"]) -> Frames:
        return jnp.where(_wide(chosen), change(images, keys), images)

    result: Frames = lax.cond(jnp.any(chosen), changed, lambda images, keys: images, images, keys)
    return result


def _wide(chosen: Bool[Array, " batch"]) -> Bool[Array, "batch 1 1 1"]:
    return chosen[:, None, None, None]


def _colours(image: Image, key: Key[Array, ""], config: AugmentConfig) -> Image:
    """Change contrast and brightness, and cut off what left the range."""
    keys = jax.random.split(key, 6)
    if config.contrast:
        most = config.contrast
        change = jax.random.uniform(keys[_CONTRAST], (), minval=-most, maxval=most)
        mean = jnp.mean(image[..., :3])
        image = mean + (image - mean) * (1 + change)
    if config.brightness:
        most = config.brightness
        image = image + jax.random.uniform(keys[_BRIGHTNESS], (), minval=-most, maxval=most)
    return jnp.clip(image, 0.0, 1.0)


def _blur(image: Image, key: Key[Array, ""], sigmas: tuple[float, float]) -> Image:
    """Gaussian blur of random sigma, border replicated, as shifted multiply-adds.

    dm-pix 0.4.5 convolves, which is slower on a CPU, and lets darkness in at the border.
    """
    sigma = jax.random.uniform(key, (), minval=sigmas[0], maxval=sigmas[1])
    radius = math.ceil(3 * sigmas[1])  # px
    offsets = jnp.arange(-radius, radius + 1, dtype=jnp.float32)
    weights = jax.nn.softmax(-0.5 * (offsets / sigma) ** 2)
    height, width = image.shape[:2]
    pad = (radius, radius)
    tall = jnp.pad(image, (pad, (0, 0), (0, 0)), mode="edge")
    image = sum((tall[i : i + height] * w for i, w in enumerate(weights)), jnp.zeros_like(image))
    wide = jnp.pad(image, ((0, 0), pad, (0, 0)), mode="edge")
    return sum((wide[:, i : i + width] * w for i, w in enumerate(weights)), jnp.zeros_like(image))


def _noise(image: Image, key: Key[Array, ""], stds: tuple[float, float]) -> Image:
    """Gaussian noise of random standard deviation, the same on each frame."""
    first, second = jax.random.split(key)
    std = jax.random.uniform(first, (), minval=stds[0], maxval=stds[1])
    height, width, channels = image.shape
    # Flat: XLA compiles it four times faster.
    noise = jax.random.normal(second, (height * width * 3,)).reshape(height, width, 3)
    return image + std * jnp.tile(noise, (1, 1, channels // 3))


def _jpeg(image: Image, key: Key[Array, ""], quality: tuple[int, int]) -> Image:
    """Compress each frame by the same quality."""
    frames = [random_jpeg(image[..., i : i + 3], key, quality) for i in range(0, image.shape[2], 3)]
    return jnp.concatenate(frames, axis=-1)
