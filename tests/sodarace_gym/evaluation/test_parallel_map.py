"""Backends: the same evaluations from threads, processes, a Dask cluster and Ray, and a kind word where one is missing."""

from __future__ import annotations

import contextlib
import os
import pickle
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.evaluation import evaluator as evaluator_module
from sodarace_gym.evaluation.jobs import Grounds, Job
from sodarace_gym.evaluation.parallel_map import MAX_CHUNK, THREAD_CHUNK, ParallelMap, pickled_chunks
from sodarace_gym.terrains.making import make_terrain
from tests.sodarace_gym.sample_walkers import random_designs, square

SQUARE = square().to_program()
# Good and bad programs, twins, and one that runs until it is stopped.
PROGRAMS = [design.to_program() for design in random_designs(seed=21, count=14)]
PROGRAMS += ["def", SQUARE, SQUARE.replace("    ", "  "), "def make_walker():\n    while True: pass", PROGRAMS[2]]
SETTINGS = {"duration": 2.0, "robustness": 1}


@pytest.fixture(scope="module")
def expected() -> list[Evaluation]:
    with Evaluator(n_jobs=1, **SETTINGS) as evaluator:
        return evaluator.evaluate(PROGRAMS, terrains())


def terrains() -> list:
    return [("Flat", "Bumpy", make_terrain("Bumpy", 3))[k % 3] for k in range(len(PROGRAMS))]


def run_script(code: str, **environment: str) -> str:
    """What a Python script prints; the script finds this module's names."""
    root = Path(__file__).resolve().parents[3]
    done = subprocess.run(
        [sys.executable, "-c", "from tests.sodarace_gym.evaluation.test_parallel_map import *\n" + code],
        capture_output=True,
        text=True,
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root), **environment},
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


# ---------------------------------------------------------------------------------------------------------- chunks


@given(st.lists(st.integers(), max_size=2_000), st.integers(1, 64))
def test_chunks_hold_every_job_once_and_in_order(jobs, workers):
    chunks = [pickle.loads(chunk) for chunk in pickled_chunks(abs, jobs, workers)]
    assert [job for _, chunk in chunks for job in chunk] == jobs
    assert all(function is abs and 0 < len(chunk) <= MAX_CHUNK for function, chunk in chunks)
    # Enough of them for every worker, if there are enough jobs, and few enough to be worth sending.
    assert len(chunks) >= min(len(jobs), workers)
    assert len(chunks) <= max(4 * workers, len(jobs) / MAX_CHUNK + 1)


def test_a_terrain_travels_once_with_a_chunk():
    design = random_designs(seed=1, count=1)[0]
    alone = len(pickle.dumps(make_terrain("Bumpy")))
    # Each job with a terrain of its own that equals the others', as environments in a batch have them.
    grounds = Grounds()
    jobs = [Job(design, 0, grounds.shared(make_terrain("Bumpy"))[0]) for _ in range(40)]
    chunks = list(pickled_chunks(list, jobs, workers=1))
    assert len(chunks) == 4
    assert all(alone < len(chunk) < 2 * alone + len(pickle.dumps(design)) for chunk in chunks)


@pytest.mark.parametrize("n_jobs", [1, 2, 5])
def test_results_come_in_the_order_of_the_jobs(n_jobs):
    def slow_at_first(jobs: Sequence[int]) -> list[int]:
        time.sleep(0.02 if jobs[0] < 3 else 0.0)
        return [-job for job in jobs]

    with ParallelMap(n_jobs) as parallel_map:
        for count in (0, 1, 2, 30, 5 * THREAD_CHUNK + 3):
            assert list(parallel_map(slow_at_first, range(count))) == [-job for job in range(count)]
    assert list(parallel_map(slow_at_first, [4, 5])) == [-4, -5]


def test_threads_work_while_its_jobs_are_still_being_made():
    begun = threading.Event()

    def note(jobs: Sequence[int]) -> list[int]:
        begun.set()
        return [-job for job in jobs]

    def jobs() -> Iterator[int]:
        yield from range(2 * THREAD_CHUNK)  # a chunk for each thread
        assert begun.wait(timeout=60.0), "the first jobs wait for the last"
        yield from range(2 * THREAD_CHUNK, 3 * THREAD_CHUNK - 1)

    assert list(ParallelMap(2)(note, jobs())) == [-job for job in range(3 * THREAD_CHUNK - 1)]


@pytest.mark.filterwarnings("ignore:.*tasks")  # joblib may say beside the error that some were left
@pytest.mark.parametrize("broken", ["build", "walk"])
@pytest.mark.parametrize("kept", [False, True])
def test_a_failure_of_ours_is_raised_and_the_next_batch_is_not_touched(expected, monkeypatch, broken, kept):
    def fail(*_: Any, **__: Any) -> None:
        raise RuntimeError("no more processes")

    evaluator = Evaluator(n_jobs=2, **SETTINGS)
    with evaluator if kept else contextlib.nullcontext():
        with monkeypatch.context() as patch:
            patch.setattr(evaluator_module, broken, fail)
            with pytest.raises(RuntimeError, match="no more processes"):
                evaluator.evaluate(PROGRAMS, terrains())
        assert evaluator.evaluate(PROGRAMS, terrains()) == expected


# -------------------------------------------------------------------------------------------------------- backends


def test_processes_give_the_same_and_leave_nobody_behind(expected, tmp_path):
    printed = run_script(f"""
import psutil
if __name__ == "__main__":
    with Evaluator(n_jobs=2, backend="loky", **SETTINGS) as evaluator:
        first = evaluator.evaluate(PROGRAMS, terrains())
        again = evaluator.evaluate(PROGRAMS[::-1], terrains()[::-1])[::-1]
    open({str(tmp_path / "evaluations")!r}, "wb").write(pickle.dumps((first, again)))
    print(*(child.pid for child in psutil.Process().children(recursive=True)))
""")
    first, again = pickle.loads((tmp_path / "evaluations").read_bytes())
    assert first == expected
    assert again == expected
    children = [int(pid) for pid in printed.split()]
    assert len(children) >= 4, "two workers, each with an interpreter"
    _, alive = psutil.wait_procs([psutil.Process(pid) for pid in children if psutil.pid_exists(pid)], timeout=60)
    assert not alive


def test_a_dask_cluster_gives_the_same(expected):
    distributed = pytest.importorskip("distributed")
    with pytest.raises(RuntimeError, match=r"distributed\.Client"):
        Evaluator(backend="dask")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
        Evaluator(backend="dask", **SETTINGS) as evaluator,
    ):
        before = client.run(os.getpid)
        assert evaluator.evaluate(PROGRAMS, terrains()) == expected
        # Not by its children: an interpreter that had to be killed is replaced when there is a program to run.
        ran = client.run(
            lambda: __import__("sodarace_gym.programs.sandbox", fromlist=["_"]).default_sandbox()._pool is not None
        )
        assert all(ran.values()), "both workers have run programs in interpreters of their own"
        assert client.run(os.getpid) == before, "no worker fell over"
        workers = [psutil.Process(pid) for pid in before.values()]
        family = [process for worker in workers for process in (worker, *worker.children(recursive=True))]
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive


def test_ray_gives_the_same(expected, tmp_path):
    pytest.importorskip("ray")
    # In a process of its own: Ray changes joblib for good, and stays in memory.
    run_script(
        f"""
import ray
if __name__ == "__main__":
    try:
        Evaluator(backend="ray")
    except RuntimeError as error:
        assert "ray.init" in str(error)
    else:
        raise AssertionError("no connection, yet nothing was said")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    with Evaluator(n_jobs=2, backend="ray", **SETTINGS) as evaluator:
        evaluations = evaluator.evaluate(PROGRAMS, terrains())
    ray.shutdown()
    open({str(tmp_path / "evaluations")!r}, "wb").write(pickle.dumps(evaluations))
""",
        RAY_AUTH_MODE="disabled",
        RAY_USAGE_STATS_ENABLED="0",
    )
    assert pickle.loads((tmp_path / "evaluations").read_bytes()) == expected


@pytest.mark.parametrize(("backend", "package"), [("dask", "distributed"), ("ray", "ray")])
def test_a_missing_package_is_named_with_its_remedy(monkeypatch, backend, package):
    monkeypatch.setitem(sys.modules, package, None)  # Python then refuses the import as if it were absent
    with pytest.raises(ImportError, match=r"pip install 'sodarace-gym\[distributed\]'"):
        Evaluator(backend=backend)
