from __future__ import annotations

import jax

from dfbench import __version__
from dfbench.results.environment import environment


def test_says_where_it_ran() -> None:
    here = environment(devices=True)
    assert here.packages["dfbench"] == __version__
    assert here.packages["jax"] == jax.__version__
    assert here.device_count == jax.local_device_count() == 8
    assert here.cpu_count >= 1
    if here.git_commit is not None:
        assert len(here.git_commit) == 40
        assert here.git_dirty in (True, False)
