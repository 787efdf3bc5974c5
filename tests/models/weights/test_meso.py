"""The MesoNet authors' files, which Keras 2 wrote."""

from __future__ import annotations

import json
from pathlib import Path

import jax
import numpy as np
from flax import nnx
from PIL import Image

from dfbench.config import ModelConfig
from dfbench.models.registry import get_model
from dfbench.models.weights.load import load_weights


def test_the_authors_weights_give_known_logits(shared_dir: Path) -> None:
    folder = shared_dir / "data" / "mesonet"
    model = get_model("meso4").build(ModelConfig(name="meso4"), nnx.Rngs(0))
    model.eval()
    graphdef, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    loaded = load_weights(
        "meso4", folder / "Meso4_DF.h5", nnx.to_pure_dict(params), nnx.to_pure_dict(stats)
    )
    real = json.loads((folder / "expected_logits.json").read_text())
    pictures = [
        Image.open(shared_dir / "data" / name)
        .convert("RGB")
        .resize((256, 256), Image.Resampling.NEAREST)
        for name in real
    ]
    images = np.stack([np.asarray(p, np.float32) / np.float32(255) for p in pictures])
    network = nnx.merge(graphdef, loaded.params, loaded.batch_stats)
    fake = np.asarray(jax.jit(network)(images))
    np.testing.assert_allclose(fake, -np.array(list(real.values())), rtol=0, atol=1e-3)
    assert "P(real)" in loaded.notes[0]
