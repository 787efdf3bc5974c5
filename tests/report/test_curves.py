from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import cv2
import pytest

from dfbench.report.curves import curves_figure, write_curves

LOSS = {"step": 10, "epoch": 1, "loss": 0.7, "lr": 1e-3, "images_per_s": None}
CHECKED = {"step": 10, "epoch": 1, "val_loss": 0.6, "val_video_auc": 0.8, "best": True}


@pytest.mark.parametrize(
    "rows",
    [
        [],
        [LOSS],
        [LOSS, CHECKED],
        [LOSS, {**CHECKED, "val_video_auc": None}],
        [LOSS, CHECKED, {**LOSS, "step": 20}, {**CHECKED, "step": 20, "val_video_auc": 0.2}],
        [{**LOSS, "loss": math.nan}, {**LOSS, "loss": math.inf}, {**CHECKED, "val_loss": math.nan}],
        [{k: v for k, v in CHECKED.items() if k not in ("best", "epoch")}],
    ],
    ids=[
        "nothing",
        "no validation",
        "one epoch",
        "AUC undefined",
        "falling",
        "diverged",
        "no epoch named",
    ],
)
def test_every_history_gives_a_picture(tmp_path: Path, rows: list[dict[str, Any]]) -> None:
    write_curves(rows, tmp_path / "curves.png")
    image = cv2.imread(str(tmp_path / "curves.png"))
    assert image.shape[1] > 2 * image.shape[0] > 400
    assert (image != 255).any()


def test_the_kept_epoch_is_marked() -> None:
    def kept(rows: list[dict[str, Any]]) -> list[float]:
        lines = [line for axes in curves_figure(rows).axes for line in axes.lines]
        return [line.get_xdata()[0] for line in lines if line.get_label() == "kept: epoch 1"]

    assert kept([LOSS, CHECKED]) == [10, 10]
    assert kept([LOSS, {**CHECKED, "best": False}]) == []
