"""Mutation in a process of its own: children are made while programs run and walkers walk, and not in their way.

Genetic programming is pure Python. In the process that also reads what programs describe, the two take turns; on two cores one
of them then waits (`benchmarks/results/README.md`).
"""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from typing import Any

import numpy as np
from joblib.externals.loky import ProcessPoolExecutor

from elm_rl.mutation.operator import Child, MutationOperator, Parent

CHUNK = 16
"""Most parents sent at a time: their children come back together. The first are fewer, so that nobody waits long for them."""
FEWEST = 64
"""Fewer parents than this are not worth a process."""
IDLE_SECONDS = 600.0
"""A process that nobody asks for so long ends; another starts when there is work again."""


class BackgroundMutation(MutationOperator):
    """Has another operator make its children in a process of its own.

    The children are those that the operator makes here: one process makes all of them, one after the other, with the caller's
    random numbers, and hands back where these stand. Should the process be killed, what it did not make is made here.

    Args:
        operator: An operator that pickles. It serves one thread at a time, and so does this one.

    Attributes:
        name: The operator's.
        parents_per_child: The operator's.
        repairs: The operator's.
        tries: The operator's.
    """

    def __init__(self, operator: MutationOperator) -> None:
        self.name = operator.name
        self.parents_per_child = operator.parents_per_child
        self.repairs = operator.repairs
        self.tries = operator.tries
        self._operator = operator
        self._executor: ProcessPoolExecutor | None = None
        self._executor_pid = 0  # whose it is

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        """Makes the children that the operator makes, each as soon as it is there."""
        if len(parents) < FEWEST or (os.cpu_count() or 1) < 2:
            yield from self._operator.children(parents, rng)
            return
        made = 0
        begun = rng.bit_generator.state
        waiting: deque[Future[Any]] = deque()
        try:
            try:
                start, size = 0, 1
                while start < len(parents):
                    chunk = list(parents[start : start + size])
                    waiting.append(self._started().submit(_children, chunk, rng if start == 0 else None))
                    start, size = start + size, min(2 * size, CHUNK)
                while waiting:
                    children, state = waiting.popleft().result()
                    for child in children:
                        made += 1
                        yield child
                rng.bit_generator.state = state
            except (BrokenProcessPool, _Replaced):
                self.close()
                rng.bit_generator.state = begun
                for number, child in enumerate(self._operator.children(parents, rng)):
                    if number >= made:
                        yield child
        finally:
            for future in waiting:  # whoever asked lost interest
                future.cancel()

    def close(self) -> None:
        """Ends the process; the next children start another."""
        executor, self._executor = self._executor, None
        if executor is not None and self._executor_pid == os.getpid():
            executor.shutdown(wait=False, kill_workers=True)

    def _started(self) -> ProcessPoolExecutor:
        if self._executor is None or self._executor_pid != os.getpid():
            self._executor = ProcessPoolExecutor(
                1, timeout=IDLE_SECONDS, initializer=_set_up, initargs=(self._operator,)
            )
            self._executor_pid = os.getpid()
        return self._executor

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_executor": None}


class _Replaced(Exception):
    """The process is another than the one that began: joblib replaces one that has grown large."""


# In the other process, which serves one operator, chunk after chunk of the same parents.
_operator: MutationOperator
_rng: np.random.Generator | None = None


def _set_up(operator: MutationOperator) -> None:
    global _operator
    _operator = operator
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    gc.freeze()  # what was imported stays, and need not be looked through again and again


def _end_with(parent: int) -> None:
    """Ends this process once its parent is gone, which may have been killed and said nothing."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os._exit(0)


def _children(parents: list[Parent], rng: np.random.Generator | None) -> tuple[list[Child], Any]:
    """Children of the first parents, with these random numbers, or of the next ones; and where the random numbers stand."""
    global _rng
    if rng is not None:
        _rng = rng
    if _rng is None:
        raise _Replaced
    children = list(_operator.children(parents, _rng))
    return children, _rng.bit_generator.state
