"""Counts the programs that JAX compiles."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import jax

_EVENT = "/jax/core/compile/backend_compile_duration"


@contextmanager
def compiled_programs() -> Iterator[list[float]]:
    """Collect the seconds of each program that is compiled meanwhile."""
    found: list[float] = []

    def listen(event: str, seconds: float, **_: object) -> None:
        if event == _EVENT:
            found.append(seconds)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield found
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)
