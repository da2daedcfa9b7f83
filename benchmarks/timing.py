"""What things take: clocks, and medians with quartiles over turns."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from unittest.mock import patch

import numpy as np
from numpy.typing import ArrayLike, NDArray


def processor_seconds(function: Callable[[], object]) -> float:
    """Processor time that one call takes in this thread: what others do on the machine hardly shows in it."""
    start = time.thread_time()
    function()
    return time.thread_time() - start


def seconds(function: Callable[[], object]) -> float:
    """Time that one call takes, waiting for others included."""
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


@contextmanager
def time_within(module: ModuleType, name: str) -> Iterator[list[float]]:
    """Notes how long each call of a module's function takes in this thread, processor seconds."""
    function, taken = getattr(module, name), []

    def timed(*arguments: object) -> object:
        start = time.thread_time()
        result = function(*arguments)
        taken.append(time.thread_time() - start)
        return result

    with patch.object(module, name, timed):
        yield taken


def quartiles(values: NDArray[np.float64], digits: int = 2) -> str:
    """Median and quartiles."""
    low, median, high = np.percentile(values, [25, 50, 75])
    return f"{median:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def ratio(above: ArrayLike, below: ArrayLike) -> str:
    """Median and quartiles of a ratio, turn by turn."""
    return quartiles(np.divide(above, below))


def few(repeats: int) -> int:
    """Turns of what takes long."""
    return max(1, repeats // 3)
