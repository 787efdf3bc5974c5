"""One job at a time in a folder of results, and what the disk refuses there as one line."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from dfbench.errors import system_errors
from dfbench.locks import one_at_a_time
from dfbench.processes import first_does
from dfbench.progress import Reporter


@contextlib.contextmanager
def alone(folder: Path, doing: str, reporter: Reporter) -> Iterator[None]:
    """Work on a folder while no other job does; of several processes all have to come here.

    Who waits should look again afterwards: the other one has perhaps done it.

    Args:
      folder: of a run, or of an evaluation; it may be deleted meanwhile.
      doing: is done to it, in passive voice: "x is being trained".
      reporter: is told of the other job.

    Raises:
      UserError: the disk refuses something.
    """
    lock = folder.with_name(f".lock-{folder.name}")
    with system_errors(folder), contextlib.ExitStack() as held:
        first_does(lambda: held.enter_context(one_at_a_time(lock, doing, reporter.say)))
        yield
