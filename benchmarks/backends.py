"""Does it matter where walkers are evaluated? Threads, processes, a Dask cluster and Ray: the same floats, at what rate.

Usage: ``python -m benchmarks.backends [--programs N] [--repeats N] [--write]``. Takes about three minutes. Needs
``pip install 'sodarace-gym[distributed]'``. The clusters are real ones on this machine; ``--scheduler tcp://host:8786``
measures a Dask cluster of yours too.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import numpy as np

from benchmarks.tables import markdown_table, publish
from benchmarks.timing import ratio, seconds
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.walkers.random_walker import random_design


@contextlib.contextmanager
def _here() -> Iterator[None]:
    yield


@contextlib.contextmanager
def _dask(workers: int, scheduler: str | None) -> Iterator[None]:
    import distributed

    if scheduler is not None:
        with distributed.Client(scheduler):
            yield
        return
    cluster = distributed.LocalCluster(n_workers=workers, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster):
        yield


@contextlib.contextmanager
def _ray(workers: int) -> Iterator[None]:
    import ray

    ray.init(num_cpus=workers, include_dashboard=False, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def _measure(
    n_jobs: int, backend: str, programs: list[str], repeats: int
) -> tuple[float, list[float], list[float], list[Evaluation]]:
    """Seconds until the first batch is done (workers start), those of the next ones, of one thread's, and the evaluations.

    The two take turns, as the machine's speed changes within minutes.
    """
    start = time.perf_counter()
    with Evaluator(n_jobs, cache_size=0, backend=backend) as evaluator, Evaluator(1, cache_size=0) as alone:
        evaluations = evaluator.evaluate(programs, "Flat")
        first = time.perf_counter() - start
        own, thread = [], []
        for _ in range(repeats):
            own.append(seconds(lambda: evaluator.evaluate(programs, "Flat")))
            thread.append(seconds(lambda: alone.evaluate(programs, "Flat")))
        assert evaluator.evaluate(programs, "Flat") == evaluations
    return first, own, thread, evaluations


def main() -> None:
    """Measures, prints and optionally writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--programs", type=int, default=1000, help="random walkers in a batch (default 1000)")
    parser.add_argument("--repeats", type=int, default=5, help="batches after the first (default 5)")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), help="most workers (default: one per core)")
    parser.add_argument("--scheduler", help="address of a Dask scheduler, to measure that cluster too")
    parser.add_argument("--write", action="store_true", help="write benchmarks/results/backends.md")
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    programs = [random_design(rng).to_program() for _ in range(options.programs)]
    many = options.workers
    ways: list[tuple[str, int, str, Callable[[], AbstractContextManager[None]]]] = [
        ("threading, 1 thread", 1, "threading", _here),
        (f"threading, {many} threads", many, "threading", _here),
        (f"loky, {many} processes", many, "loky", _here),
    ]
    # From two on: where there is only one worker, joblib does the work itself.
    counts = sorted({2**k for k in range(1, many.bit_length()) if 2**k < many} | {max(2, many)})
    ways += [(f"Dask, {n} workers", -1, "dask", functools.partial(_dask, n, None)) for n in counts]
    ways.append((f"Ray, {many} actors", many, "ray", lambda: _ray(many)))
    if options.scheduler:
        ways.append((f"Dask at {options.scheduler}", -1, "dask", lambda: _dask(0, options.scheduler)))
    rows: list[list[object]] = []
    expected: list[Evaluation] = []
    for name, n_jobs, backend, cluster in ways:
        with cluster():
            first, own, thread, evaluations = _measure(n_jobs, backend, programs, options.repeats)
        expected = expected or evaluations
        same = "yes" if evaluations == expected else "NO"
        rate = len(programs) / np.median(own)
        rows.append([name, f"{rate:.0f}", ratio(thread, own), f"{first:.1f}", same])
        print(*rows[-1], sep=", ", flush=True)
    table = markdown_table(
        ["backend", "evaluations/s", "against 1 thread", "first batch, with start-up, s", "identical to the last bit"],
        rows,
    )
    valid = sum(evaluation.valid for evaluation in expected)
    body = (
        f"Batches of {options.programs} programs of random walkers (seed 0, {valid} valid) on Flat; nothing is remembered "
        f"between batches; median of {options.repeats} batches after the first, each followed by one on one thread, with "
        "quartiles in brackets. Clusters run on this machine and share its cores with the process that asks: how they scale "
        f"over machines was not measured.\n\n{table}"
    )
    publish("backends", "Does it matter where walkers are evaluated?", body, options.write)


if __name__ == "__main__":
    main()
