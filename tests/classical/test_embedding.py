from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from support.landmarks import render_face
from support.onnx import LENGTH

from dfbench.classical.embedding import FaceEmbedder
from dfbench.errors import UserError


def test_faces_are_aligned_before_they_are_embedded(embedding_model: Path) -> None:
    embed = FaceEmbedder(embedding_model)
    face, points = render_face(3)
    image = cv2.copyMakeBorder(face, 80, 80, 80, 80, cv2.BORDER_REPLICATE)
    points = points + 80
    one = embed(image, points)
    assert one.shape == (LENGTH,)
    assert np.linalg.norm(one) == pytest.approx(1, abs=1e-6)
    shifted = np.roll(image, (6, 8), (0, 1))
    moved = embed(shifted, points + np.array([8, 6]))
    unaligned = embed(shifted, points)
    assert np.abs(one - moved).max() < 0.02 * np.abs(one - unaligned).max()


def test_a_file_that_is_no_network(tmp_path: Path) -> None:
    path = tmp_path / "wrong.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(UserError, match=r"wrong\.onnx: OpenCV cannot load it") as raised:
        FaceEmbedder(path)
    assert "\n" not in str(raised.value)
