"""What is fuzzed: inputs, and what must hold of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from hypothesis import strategies as st

from dfbench.errors import UserError

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Target:
    """A reader of something that users or strangers write.

    Attributes:
      name: of what is read.
      inputs: that are drawn.
      check: reads one in a folder of its own. It returns where a UserError was raised, or after it
        has held what was read against what must be true of it; everything else is a defect.
      share: of the inputs of a run, relative to other targets; less where one takes long.
    """

    name: str
    inputs: st.SearchStrategy[Any]
    check: Callable[[Any, Path], None]
    share: float = 1.0


def read(call: Callable[..., T], *arguments: Any, **named: Any) -> T | None:
    """Return what a call gives; None where it raises a UserError that says something."""
    try:
        return call(*arguments, **named)
    except UserError as error:
        said = str(error).strip()
    assert said, "an error without a message"
    return None
