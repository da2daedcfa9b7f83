"""One timed evolution by GP, printed as JSON: what `benchmarks.evolution_speed` starts in processes of their own.

Usage: ``PYTHONPATH=<checkout> python -P <this file> <iterations> <batch> <cores> <seed> [<seed>...]``. It runs with the
code of any checkout, so it uses only what every version of the project has.
"""

from __future__ import annotations

import functools
import importlib
import json
import os
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

WARM_ITERATIONS = 3
"""Iterations before the clock starts: compiled code is loaded, workers are there, the maps hold their first hundreds."""


class Parts:
    """Seconds that the thread of the loop spends in each part, those of the parts called from it left out."""

    def __init__(self) -> None:
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._inner = [0.0]

    def time(self, owner: Any, name: str, part: str) -> None:
        """From now on, times a function or method of a module, class or object."""
        function = getattr(owner, name, None)
        if function is None:
            return

        @functools.wraps(function)
        def timed(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                spent = time.perf_counter() - start
                self.seconds[part] += spent - self._inner.pop()
                self._inner[-1] += spent

        setattr(owner, name, timed)


def module_of(*names: str) -> Any:
    """The first of some modules that this version has."""
    for name in names:
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError:
            continue
    raise ModuleNotFoundError(f"none of {', '.join(names)}")


class CpuTimes:
    """CPU time of this process and of its living children, by what they do; of the children on Linux only."""

    def __init__(self) -> None:
        self._walks: list[float] = []

    def time_walks(self, module: Any, name: str) -> None:
        """From now on, counts what a function that rolls walkers out takes in its thread, apart from all else."""
        walk = getattr(module, name)

        @functools.wraps(walk)
        def timed(*args: Any, **kwargs: Any) -> Any:
            start = time.thread_time()
            try:
                return walk(*args, **kwargs)
            finally:
                self._walks.append(time.thread_time() - start)

        setattr(module, name, timed)

    def seconds(self) -> dict[str, float]:
        """CPU seconds so far."""
        walks = sum(self._walks)
        found = defaultdict(float, {"walkers": walks, "the loop, and programs read": time.process_time() - walks})
        for thread in Path("/proc/self/task").glob("*/children"):
            for pid in thread.read_text().split():
                name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
                fields = rest.split()
                kind = "GP" if name.startswith("python") else "programs run: the sandbox's interpreters"
                found[kind] += (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        return dict(found)


def main(iterations: int, batch: int, cores: int, seeds: Sequence[str]) -> dict[str, Any]:
    """Runs `WARM_ITERATIONS`, then times as many iterations as asked for."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:cores])
    evolution = module_of("elm_rl.evolution.map_elites", "elm_rl.map_elites")
    state = module_of("elm_rl.evolution.state", "elm_rl.evolution_state")
    evaluation = module_of("sodarace_gym.evaluation.evaluator", "sodarace_gym.evaluation")
    with tempfile.TemporaryDirectory() as folder, evaluation.Evaluator(n_jobs=cores) as evaluator:
        operators = evolution.make_operators(("gp",))

        def run(until: int, resume: bool) -> dict[str, Any]:
            out = Path(folder) / "run"
            settings: dict[str, Any] = {"seeds": tuple(seeds), "batch_size": batch, "n_jobs": cores, "progress": False}
            if "operators" in evolution.EvolveConfig.__dataclass_fields__:  # older ones knew no others
                settings["operators"] = ("gp",)
            config = evolution.EvolveConfig(out=out, iterations=until, **settings)
            summary: dict[str, Any] = evolution.run_evolution(config, operators, evaluator, resume=resume).summary
            return summary

        before = run(WARM_ITERATIONS, resume=False)
        parts, cpu = Parts(), CpuTimes()
        cpu.time_walks(evaluation, "walk" if hasattr(evaluation, "walk") else "_walk")
        # GP may work in a process of its own; then the loop does not.
        parts.time(getattr(operators[0], "_operator", operators[0]), "_child", "mutate (GP)")
        parts.time(evaluator, "evaluate", "evaluate: programs and walkers")
        parts.time(state.EvolutionState, "is_new", "archive: is the walker new?")
        parts.time(state.EvolutionState, "admit", "archive: offer, take, write the record")
        parts.time(state.EvolutionState, "write_iteration", "log")
        parts.time(evolution.ScalarLog, "write", "log for TensorBoard")
        parts.time(state.EvolutionState, "save", "checkpoint")
        start, cpu_before = time.perf_counter(), cpu.seconds()
        after = run(WARM_ITERATIONS + iterations, resume=True)
        seconds = time.perf_counter() - start
        cpu_by_kind = {kind: value - cpu_before.get(kind, 0.0) for kind, value in cpu.seconds().items()}
    parts.seconds["parents drawn, figures, all else"] = seconds - sum(parts.seconds.values())
    return {
        "evaluations": after["evaluations"] - before["evaluations"],
        "seconds": seconds,
        "cpu_seconds": sum(cpu_by_kind.values()),
        "cpu": cpu_by_kind,
        "parts": dict(parts.seconds),
        "found": {key: after[key] for key in ("niches", "qd_score", "best", "admitted")},
    }


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])))
