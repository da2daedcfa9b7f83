"""Mutation in a process of its own: the same children, whatever happens to the process."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import psutil
import pytest

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.mutation import background as background_module
from elm_rl.mutation.background import CHUNK, FEWEST, BackgroundMutation
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import Child, MutationOperator, Parent, parents_of

PARENTS = parents_of([load_seed(name) for name in SEED_NAMES]) * (FEWEST // len(SEED_NAMES) + 3)
needs_cores = pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="with one core there is no process")


@pytest.fixture
def background() -> Iterator[BackgroundMutation]:
    operator = BackgroundMutation(GPMutation())
    yield operator
    operator.close()


def children_and_next_number(operator: MutationOperator, parents: list[Parent]) -> tuple[list[Child], float]:
    rng = np.random.default_rng(3)
    return list(operator.children(parents, rng)), rng.random()


@needs_cores
def test_children_and_random_numbers_are_those_of_the_operator(background):
    assert background.name == "gp"
    for parents in (PARENTS, PARENTS[: FEWEST - 1], PARENTS[:FEWEST], [], PARENTS):
        expected = children_and_next_number(GPMutation(), parents)
        assert children_and_next_number(background, parents) == expected
        assert children_and_next_number(pickle.loads(pickle.dumps(background)), parents[:3])[0] == expected[0][:3]
    assert background.mutate(PARENTS, np.random.default_rng(3)) == children_and_next_number(GPMutation(), PARENTS)[0]


@needs_cores
@pytest.mark.skipif(sys.platform == "win32", reason="sends a signal that Windows does not know")
def test_a_killed_process_costs_no_child(background):
    expected = children_and_next_number(GPMutation(), PARENTS)
    rng = np.random.default_rng(3)
    made = []
    for child in background.children(PARENTS, rng):
        made.append(child)
        if len(made) == 2:
            for pid in background._executor._processes:
                os.kill(pid, signal.SIGKILL)
    assert (made, rng.random()) == expected
    assert children_and_next_number(background, PARENTS) == expected, "another process takes over"


class Forgetful(GPMutation):
    """After the first parents its process is as one that joblib has put in the place of another."""

    def children(self, parents, rng):
        made = list(super().children(parents, rng))
        if os.getpid() != THIS:
            background_module._rng = None
        yield from made


THIS = os.getpid()


@needs_cores
def test_a_process_that_is_replaced_costs_no_child():
    operator = BackgroundMutation(Forgetful())
    try:
        with pytest.raises(background_module._Replaced):
            background_module._children(PARENTS[:1], None)
        assert children_and_next_number(operator, PARENTS) == children_and_next_number(GPMutation(), PARENTS)
    finally:
        operator.close()


@needs_cores
def test_whoever_stops_asking_leaves_nothing_behind_for_the_next(background):
    children = background.children(PARENTS, np.random.default_rng(8))
    for _ in range(CHUNK + 1):
        next(children)
    children.close()
    assert children_and_next_number(background, PARENTS) == children_and_next_number(GPMutation(), PARENTS)


_ABANDONED = """
import sys, time
import numpy as np
from elm_rl.evolution.seeds import load_seed
from elm_rl.mutation.background import FEWEST, BackgroundMutation
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import parents_of
operator = BackgroundMutation(GPMutation())
operator.mutate(parents_of([load_seed("square")] * FEWEST), np.random.default_rng(0))
print(*operator._executor._processes, flush=True)
time.sleep(600)
"""


@needs_cores
@pytest.mark.skipif(sys.platform == "win32", reason="tells by what POSIX says of parents")
def test_the_process_ends_with_the_one_that_it_works_for():
    with subprocess.Popen([sys.executable, "-c", _ABANDONED], stdout=subprocess.PIPE, text=True) as user:
        assert user.stdout is not None
        worker = psutil.Process(int(user.stdout.readline()))
        user.kill()
    _, alive = psutil.wait_procs([worker], timeout=60)
    assert not alive
