"""What the commands do, as plain functions: prepare, train, evaluate, leaderboard."""

from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.pages import leaderboard, load, matrix_text
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_one, prepare_spec, prepared_text
from dfbench.workflow.training import train

__all__ = [
    "Places",
    "evaluate",
    "leaderboard",
    "load",
    "matrix_text",
    "prepare_one",
    "prepare_spec",
    "prepared_text",
    "train",
]
