"""A network of one convolution as an ONNX file, written without the onnx package."""

from __future__ import annotations

from pathlib import Path

import numpy as np

SIDE = 112  # px, of the face that it takes
LENGTH = 128  # of what it returns
_STRIDE = 14


def write_embedder(path: Path, seed: int = 0) -> Path:
    """Write a network of two random mixtures of the colours, averaged over 8 x 8 places."""
    mixtures = np.random.default_rng(seed).normal(size=(2, 3, 1, 1))
    kernel = np.broadcast_to(mixtures, (2, 3, _STRIDE, _STRIDE)).astype("<f4")
    weights = b"".join(_number(1, n) for n in kernel.shape) + _number(2, 1)
    weights += _text(8, "w") + _field(9, kernel.tobytes())
    both = [_STRIDE, _STRIDE]
    convolution = _node("Conv", ["data", "w"], "maps", strides=both, kernel_shape=both)
    graph = _field(1, convolution) + _field(1, _node("Flatten", ["maps"], "fc1"))
    graph += _text(2, "embedder") + _field(5, weights)
    graph += _field(11, _value("data", (1, 3, SIDE, SIDE))) + _field(12, _value("fc1", (1, LENGTH)))
    path.write_bytes(_number(1, 7) + _field(7, graph) + _field(8, _text(1, "") + _number(2, 11)))
    return path


def _node(kind: str, inputs: list[str], output: str, **attributes: list[int]) -> bytes:
    node = b"".join(_text(1, name) for name in inputs) + _text(2, output)
    node += _text(3, output) + _text(4, kind)
    for name, values in attributes.items():
        numbers = b"".join(_number(8, value) for value in values)
        node += _field(5, _text(1, name) + numbers + _number(20, 7))  # 7: a list of integers
    return node


def _value(name: str, shape: tuple[int, ...]) -> bytes:
    dimensions = b"".join(_field(1, _number(1, size)) for size in shape)
    return _text(1, name) + _field(2, _field(1, _number(1, 1) + _field(2, dimensions)))


# --- the wire format of protocol buffers ----------------------------------------------------------


def _varint(value: int) -> bytes:
    data = bytearray()
    while value > 127:
        data.append(value & 127 | 128)
        value >>= 7
    return bytes([*data, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _field(field: int, data: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(data)) + data


def _text(field: int, value: str) -> bytes:
    return _field(field, value.encode())
