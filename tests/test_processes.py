from __future__ import annotations

import numpy as np
import pytest

from dfbench import processes
from dfbench.errors import UserError
from dfbench.processes import Job, Share, find_job

SLURM_STEP = {"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "2", "JAX_PLATFORMS": "cpu"}


def test_options_name_a_job() -> None:
    wanted = Job(coordinator="node1:1234", processes=4, process=3)
    assert find_job("node1:1234", 4, 3, {}) == wanted
    assert find_job("node1:1234", 4, 3, SLURM_STEP) == wanted  # they go before the cluster


@pytest.mark.parametrize(
    ("environment", "found"),
    [
        ({}, False),
        (SLURM_STEP, True),
        ({"SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_NTASKS": "4"}, False),  # a batch script, which is one process
        ({"OMPI_COMM_WORLD_SIZE": "2"}, True),
        ({"OMPI_COMM_WORLD_SIZE": ""}, False),
    ],
)
def test_a_cluster_is_found(environment: dict[str, str], found: bool) -> None:
    job = find_job(None, None, None, {"JAX_PLATFORMS": "cpu"} | environment)
    assert job == (Job() if found else None)
    assert find_job(None, 1, None, environment) is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("node1:1", 2, None), "belong together"),
        ((None, 2, 0), "belong together"),
        (("node1", 2, 0), "'node1' is no HOST:PORT"),
        (("node1:0", 2, 0), "no HOST:PORT"),
        ((":99", 2, 0), "no HOST:PORT"),
        (("node1:99999", 2, 0), "no HOST:PORT"),
        (("node1:1", 2, 2), "2 is not in 0 to 1"),
        (("node1:1", 2, -1), "-1 is not in 0 to 1"),
    ],
)
def test_options_that_do_not_fit(
    options: tuple[str | None, int | None, int | None], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        find_job(*options, {})


def test_a_share_is_a_part_of_a_batch() -> None:
    assert Share().size(7) == 7
    assert Share(2, 4).size(12) == 3
    with pytest.raises(UserError, match="10 cannot be split over 4 processes"):
        Share(0, 4).size(10)
    with pytest.raises(ValueError, match="part 4 of 4"):
        Share(4, 4)


def test_alone_nothing_is_asked_of_others() -> None:
    assert processes.is_first()
    assert not processes.several()
    assert processes.decide(lambda: True)
    assert not processes.decide(lambda: False)
    assert processes.anywhere(True)
    assert not processes.anywhere(False)
    values = np.arange(3.0)
    assert processes.add_up(values) is values
    done: list[int] = []
    processes.first_does(lambda: done.append(1))
    assert processes.first_before_others(lambda: done.append(2)) is None
    assert done == [1, 2]  # once each


@pytest.mark.parametrize("part", [0, 1])
def test_each_acts_once_the_first_one_first(part: int, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(processes, "_share", Share(part, 2))
    monkeypatch.setattr(processes, "wait", lambda: done.append("wait"))
    processes.first_before_others(lambda: done.append("act"))
    assert done == (["act", "wait"] if part == 0 else ["wait", "act"])
    done.clear()
    processes.first_does(lambda: done.append("act"))
    assert done == (["act", "wait"] if part == 0 else ["wait"])


def test_a_lost_process_is_told_from_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    class JaxRuntimeError(RuntimeError):
        pass

    lost = JaxRuntimeError("UNKNOWN: Gloo all-reduce failed: Connection closed by peer")
    assert not processes.lost_touch(lost)  # alone nobody can be lost
    monkeypatch.setattr(processes, "_share", Share(0, 2))
    assert processes.lost_touch(lost)
    assert not processes.lost_touch(JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory"))
    assert not processes.lost_touch(ValueError("Gloo"))
