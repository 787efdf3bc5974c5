"""What the commands do, as plain functions: prepare, audit, train, evaluate, leaderboard."""

from dfbench.workflow.audit import audit, audit_text
from dfbench.workflow.evaluate import evaluate
from dfbench.workflow.leaks import check_cells
from dfbench.workflow.pages import leaderboard, load, matrix_text
from dfbench.workflow.places import Places
from dfbench.workflow.preparation import prepare_one, prepare_spec, prepared_text
from dfbench.workflow.training import train

__all__ = [
    "Places",
    "audit",
    "audit_text",
    "check_cells",
    "evaluate",
    "leaderboard",
    "load",
    "matrix_text",
    "prepare_one",
    "prepare_spec",
    "prepared_text",
    "train",
]
