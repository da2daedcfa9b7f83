"""One function over many jobs, some at a time, on the cores of this machine or of a cluster, through joblib."""

from __future__ import annotations

import importlib
import itertools
import math
import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import ModuleType, TracebackType
from typing import Any, TypeVar

import joblib
from joblib.parallel import BACKENDS

from sodarace_gym.arguments import checked_whole

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

CLUSTER_BACKENDS = ("dask", "ray")
"""Backends that send jobs to a cluster which the caller has connected to."""
CHUNKS_PER_WORKER = 4
"""Into how many chunks a worker's share is cut: jobs differ in length, and the last chunk of all is waited for."""
MAX_CHUNK = 250
"""Most jobs in one chunk, so that no message to a worker grows with the batch."""

THREAD_CHUNK = 32
"""Jobs handed to a thread at a time: roll-outs fill the lanes of the engine twice. Half as many take 5% longer, twice as many
3% less (measured), but then a small batch does not reach all threads."""

# Workers that see this process's memory: nothing is pickled.
_SHARED_MEMORY = ("threading", "sequential")


_left_to_parents: list[joblib.Parallel] = []


class ParallelMap:
    """Maps a function over chunks of jobs with joblib; the results come in the order of the jobs, whatever the backend.

    The function takes a list of jobs and returns the list of their outcomes, which must not depend on how jobs are divided into
    lists: walkers are rolled out side by side, which is faster. To processes and clusters chunks are sent pickled: a job
    takes about a millisecond, which is what sending it alone would take too, and an object that several jobs of a chunk share
    (a terrain) travels once with the chunk.

    Args:
        n_jobs: Workers; -1 for one per core of the machine or of the cluster. Dask always uses its whole cluster.
        backend: ``"threading"``, ``"loky"`` (processes on this machine), ``"dask"`` (the ``distributed.Client`` made last),
            ``"ray"`` (after ``ray.init``), or the name of another backend that joblib knows.

    Attributes:
        shares_memory: Whether the workers are threads, which take jobs as they come.
        workers: How many workers there are, None for one per core.

    Raises:
        ValueError: ``n_jobs`` is 0 or below -1, or the backend is unknown.
        ImportError: The backend's package is missing.
        RuntimeError: There is no connection to a cluster yet.
    """

    def __init__(self, n_jobs: int = -1, backend: str = "threading") -> None:
        expected = "a positive number of workers or -1 for one per core"
        n_jobs = checked_whole("n_jobs", n_jobs, expected, least=-1)
        if n_jobs == 0:
            raise ValueError(f"n_jobs: expected {expected}, got 0.")
        if backend not in (*BACKENDS, *CLUSTER_BACKENDS):
            known = ", ".join(sorted({"threading", "loky", *CLUSTER_BACKENDS}))
            raise ValueError(f"backend: expected one of {known}, or one registered with joblib, got {backend!r}.")
        self.n_jobs = n_jobs
        self.backend = backend
        _check_connection(backend)
        self.shares_memory = backend in _SHARED_MEMORY or n_jobs == 1
        self.workers = n_jobs if n_jobs > 0 else None
        self._parallel: joblib.Parallel | None = None  # while the workers are kept
        self._parallel_pid = 0  # whose they are

    def __enter__(self) -> ParallelMap:
        """Keeps the workers between calls."""
        if self._kept() is None:
            self._parallel_pid = os.getpid()
            self._parallel = self._new_parallel().__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets the workers go."""
        self.close()

    def close(self) -> None:
        """Lets the workers go; the next call starts others. Closing twice is fine."""
        parallel, self._parallel = self._kept(), None
        if parallel is not None:
            parallel.__exit__(None, None, None)

    def _kept(self) -> joblib.Parallel | None:
        """The workers that are kept, if they are this very process's: a forked child has the parent's, and no threads."""
        if self._parallel is not None and self._parallel_pid != os.getpid():
            # Kept alive on purpose: its end would wait for threads that are not there.
            _left_to_parents.append(self._parallel)
            self._parallel = None
        return self._parallel

    def __getstate__(self) -> dict[str, Any]:
        # Workers belong to the process that started them.
        return self.__dict__ | {"_parallel": None}

    def __call__(self, function: Callable[[Sequence[Job]], list[Outcome]], jobs: Iterable[Job]) -> Iterator[Outcome]:
        """Applies a function to all jobs: threads take jobs as they come, other workers wait until all jobs are there.

        Args:
            function: What to do with a list of jobs; for other backends than threads, one that pickles.
            jobs: What to do it with. They may come one by one from a generator that takes its time: threads begin with the
                first chunk while the next is being gathered. A single job stays in this thread, and so does all work where
                there is one worker.

        Returns:
            One outcome per job, in order, each as soon as its chunk and all before it are done.
        """
        if self.n_jobs == 1:
            return _in_turn(function, _chunks(jobs, MAX_CHUNK))
        if not self.shares_memory:
            return self._through_messages(function, list(jobs))
        chunks = _thread_chunks(jobs, self.workers or joblib.cpu_count())
        first = next(chunks, [])
        if len(first) < 2:  # the end of the jobs, for chunks are smaller nowhere else
            rest = list(chunks)
            if not rest:
                return _in_turn(function, [first] if first else [])
            chunks = iter(rest)
        return self._through_threads(function, itertools.chain([first], chunks))

    def _through_threads(
        self, function: Callable[[Sequence[Job]], list[Outcome]], chunks: Iterator[list[Job]]
    ) -> Iterator[Outcome]:
        failures: list[Exception] = []

        def calls() -> Iterator[Any]:
            try:
                for chunk in chunks:
                    yield joblib.delayed(function)(chunk)
            except Exception as error:  # joblib loses one that comes while no chunk is under way
                failures.append(error)

        parallel = self._kept() or self._new_parallel()
        for outcomes in parallel(calls()):
            yield from outcomes
        if failures:
            raise failures[0]

    def _through_messages(
        self, function: Callable[[Sequence[Job]], list[Outcome]], jobs: Sequence[Job]
    ) -> Iterator[Outcome]:
        if not jobs:
            return iter(())
        parallel = self._kept() or self._new_parallel()
        with joblib.parallel_config(backend=self.backend):
            workers = joblib.effective_n_jobs(self.n_jobs)
        done = parallel(joblib.delayed(_run_pickled)(chunk) for chunk in pickled_chunks(function, jobs, workers))
        return itertools.chain.from_iterable(done)

    def _new_parallel(self) -> joblib.Parallel:
        _check_connection(self.backend)
        shared = self.backend in _SHARED_MEMORY
        # Threads need not be handed their chunks bit by bit: nothing is copied.
        pre_dispatch, return_as = ("all", "generator") if shared else ("2 * n_jobs", "list")
        # Chunks are cut here, hence no batches of joblib's; they are bytes, hence no arrays to map into memory. The backend is
        # named through the configuration, which knows more backends than Parallel itself: Dask, for one.
        with joblib.parallel_config(backend=self.backend):
            return joblib.Parallel(
                n_jobs=self.n_jobs, batch_size=1, max_nbytes=None, pre_dispatch=pre_dispatch, return_as=return_as
            )


def pickled_chunks(
    function: Callable[[Sequence[Job]], list[Outcome]], jobs: Sequence[Job], workers: int
) -> Iterator[bytes]:
    """Cuts jobs into chunks of about equal size, in order, as the bytes that are sent to a worker.

    Bytes and not lists: Dask would look through nested lists for values of its own, and pickle each element alone.
    """
    for chunk in _chunks(jobs, min(MAX_CHUNK, _share(len(jobs), CHUNKS_PER_WORKER * workers))):
        yield pickle.dumps((function, chunk), protocol=pickle.HIGHEST_PROTOCOL)


def _chunks(jobs: Iterable[Job], size: int) -> Iterator[list[Job]]:
    remaining = iter(jobs)
    while chunk := list(itertools.islice(remaining, size)):
        yield chunk


def _thread_chunks(jobs: Iterable[Job], threads: int) -> Iterator[list[Job]]:
    """Chunks for threads; what is left in the end is divided among them, so that none waits long for another."""
    for chunk in _chunks(jobs, THREAD_CHUNK):
        yield from [chunk] if len(chunk) == THREAD_CHUNK else _chunks(chunk, _share(len(chunk), threads))


def _share(jobs: int, parts: int) -> int:
    return max(1, math.ceil(jobs / parts))


def _in_turn(function: Callable[[Sequence[Job]], list[Outcome]], chunks: Iterable[list[Job]]) -> Iterator[Outcome]:
    for chunk in chunks:
        yield from function(chunk)


def _run_pickled(chunk: bytes) -> list[Any]:
    function, jobs = pickle.loads(chunk)
    return list(function(jobs))


def _check_connection(backend: str) -> None:
    if backend == "dask":
        try:
            _import("dask", "distributed").get_client()
        except ValueError:
            raise RuntimeError(
                "backend 'dask' needs a client first: distributed.Client('scheduler-address:8786') connects to a cluster, "
                "distributed.Client() starts one on this machine."
            ) from None
    elif backend == "ray":
        if not _import("ray", "ray").is_initialized():
            raise RuntimeError(
                "backend 'ray' needs a connection first: ray.init(address='auto') connects to a cluster, ray.init() starts "
                "one on this machine."
            )
        _import("ray", "ray.util.joblib").register_ray()


def _import(backend: str, module: str) -> ModuleType:
    # By name, when asked for: few users need these packages, and the base installation has none of them.
    try:
        return importlib.import_module(module)
    except ImportError as error:
        raise ImportError(
            f"backend {backend!r} needs a package that is missing ({error}); "
            "install it with: pip install 'sodarace-gym[distributed]'"
        ) from error
