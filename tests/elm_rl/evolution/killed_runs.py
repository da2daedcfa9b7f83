"""Runs of evolution that are killed, starved of disk or damaged, for the tests of resumption.

As a script this file is the run itself: ``python killed_runs.py MODE FOLDER``. Mode "real" is the real thing (GP, the
built-in model, sandbox, physics); the other modes evolve toy programs, which is the same loop and the same files in a
hundredth of the time.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elm_rl.errors import ElmError
from elm_rl.evolution.map_elites import EvolutionResult, EvolveConfig, run_evolution
from elm_rl.evolution.stage import run_evolve
from elm_rl.mutation.operator import Child, MutationOperator, Outcome, Parent
from elm_rl.runs.checkpoint import AppendLog, load_checkpoint
from elm_rl.runs.children_file import read_children
from elm_rl.runs.run_directory import can_resume, read_json, read_jsonl
from sodarace_gym.evaluation import Evaluation, EvaluationError
from sodarace_gym.walkers.walker import Muscle, WalkerDesign

SCRIPT = str(Path(__file__).resolve())
ITERATIONS = 3
LOG = "admitted.jsonl"
# The packages need not be installed: the script finds them where the tests did.
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}


class ToyEvaluator:
    """Scores a text by its digest; three in ten are invalid."""

    def evaluate(self, programs: Sequence[str], terrain: object, robustness: int = 0) -> list[Evaluation]:
        return [self._score(program) for program in programs]

    def _score(self, program: str) -> Evaluation:
        rng = np.random.default_rng(list(hashlib.sha256(program.encode()).digest()))
        if "#" in program and rng.random() < 0.3:
            return Evaluation(error=EvaluationError("runtime_error", "bad luck"))
        height, width, mass, fitness = (float(x) for x in rng.uniform((0, 0, 0, 0), (24, 30, 350, 20)))
        design = WalkerDesign(((0.0, 0.0), (width, height)), (Muscle(0, 1),))
        return Evaluation(fitness, fitness, height, width, mass, design)


class ToyOperator(MutationOperator):
    """Puts a number behind the program, drawn from so few that walkers come again."""

    def __init__(self, name: str) -> None:
        self.name = name

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        for parent in parents:
            yield Child(f"{parent.program.split('#')[0]}# {rng.integers(300)}", self.name, "count")


class ToyModel(ToyOperator):
    """Works ahead, on three parents each, mends what failed, and counts with what it has learnt."""

    ahead = True
    repairs = True
    parents_per_child = 3

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.told = 0

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        return self._children(parents, rng, self.told)

    def _children(self, parents: Sequence[Parent], rng: np.random.Generator, told: int) -> Iterator[Child]:
        for parent in parents:
            mended = "" if parent.failed is None else len(parent.failed.error)
            texts = [each.program.partition("#")[2] for each in (parent, *parent.others)]
            number = (rng.integers(300) + sum(map(len, texts))) % 300
            yield Child(f"{parent.program.split('#')[0]}# {number} {mended} {told}", self.name, "count")

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        self.told += sum(outcome.admitted for outcome in outcomes)

    def state(self) -> dict[str, Any]:
        return {"told": self.told}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.told = state.get("told", 0)


class ToyServer(ToyOperator):
    """Is asked by three threads at once, and takes a moment to answer."""

    concurrency = 3

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        for child in super().children(parents, rng):
            time.sleep(0.01 * random.random())  # other delays whenever it runs
            yield child


def served_run(folder: Path, replay: Path | None = None) -> EvolutionResult:
    """One operator here, one on a server, side by side."""
    config = EvolveConfig(
        out=folder,
        iterations=60,
        batch_size=10,
        operators=("gp", "gp,name=server"),
        shares=(0.5, 0.5),
        progress=False,
        replay=replay,
    )
    evaluator: Any = ToyEvaluator()
    return run_evolution(config, [ToyOperator("gp"), ToyServer("server")], evaluator, resume=can_resume(folder))


def toy_run(folder: Path) -> EvolutionResult:
    """Two phases, the second with two operators; started, or resumed from wherever it was killed."""
    first = EvolveConfig(out=folder, iterations=1, operators=("gp",), batch_size=10, progress=False)
    second = dataclasses.replace(first, iterations=ITERATIONS, operators=("gp", "gp,name=model"))
    evaluator: Any = ToyEvaluator()
    run_evolution(first, [ToyOperator("gp")], evaluator, resume=can_resume(folder))
    return run_evolution(second, [ToyOperator("gp"), ToyModel("model")], evaluator, resume=True)


def real_run(folder: Path) -> None:
    run_evolve(
        EvolveConfig(
            out=folder,
            iterations=6,
            batch_size=16,
            duration=2.0,
            n_jobs=1,
            progress=False,
            resume=can_resume(folder),
        )
    )


def outcome(folder: Path) -> dict[str, Any]:
    """All that two runs with the same seed must agree on."""
    metrics = [{**line, "timing": None} for line in read_jsonl(folder / "metrics.jsonl")]
    summary = {**read_json(folder / "summary.json"), "timing": None}
    programs, designs = (folder / "admitted.jsonl").read_bytes(), (folder / "designs.bin").read_bytes()
    children = [{**line, "time": None} for line in read_children(folder)]
    return {"programs": programs, "designs": designs, "children": children, "metrics": metrics, "summary": summary}


def saved_iteration(folder: Path) -> int:
    """The iteration of the newest whole checkpoint; -1 when there is none."""
    found: list[int] = []
    load_checkpoint(folder, lambda state: found.append(state["iteration"]))
    return found[-1] if found else -1


def logged_iteration(folder: Path) -> int:
    """The last iteration whose line of metrics is whole; -1 when there is none."""
    path = folder / "metrics.jsonl"
    return max((line["iteration"] for line in read_jsonl(path)), default=-1) if path.exists() else -1


LIMITS = (100, 3_000, 6_000, 12_000)
"""Bytes that a file may grow to: the lock, the seeds and the records of two iterations are too much for one each."""


def die_at(step: int) -> None:
    """Arms this process to kill itself at the given operation on files, half-written appends included."""
    left = [step]

    def count() -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapper(*args: Any, **keywords: Any) -> Any:
            count()
            return function(*args, **keywords)

        return wrapper

    append = AppendLog.append

    def half_append(log: AppendLog, data: bytes) -> None:
        if left[0] == 1:
            append(log, data[: len(data) // 2])
        count()
        append(log, data)

    for name in ("replace", "fsync", "truncate"):
        setattr(os, name, counted(getattr(os, name)))
    setattr(AppendLog, "append", half_append)  # noqa: B010 (a type checker allows it only so)


def forked(action: Callable[[], object]) -> int:
    """Runs `action` in a child of this process, which has everything imported already; returns the wait status."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
    return os.waitpid(child, 0)[1]


def kill_everywhere(folder: Path) -> Iterator[dict[str, Any]]:
    """Kills a run at its first operation on files, another at its second and so on, and resumes each."""
    toy_run(folder.with_name("warm-up"))  # what is slow the first time, the forks then inherit
    for step in range(1, 1000):
        shutil.rmtree(folder, ignore_errors=True)

        def killed(step: int = step) -> None:
            die_at(step)
            toy_run(folder)

        if forked(killed) == 0:
            return  # it did not come to that many operations
        saved, logged = saved_iteration(folder), logged_iteration(folder)

        def killed_again(step: int = step) -> None:
            die_at(1 + step % 9)  # while it cuts back its logs, or soon after
            toy_run(folder)

        if step % 5 == 0:
            forked(killed_again)
        status = forked(lambda: toy_run(folder))
        digest = hashlib.sha256(repr(outcome(folder)).encode()).hexdigest() if status == 0 else f"status {status}"
        yield {"step": step, "saved": saved, "logged": logged, "digest": digest}


def kill_served(folder: Path) -> int:
    """Kills a run with a server at up to twenty random moments, resuming it each time; returns how often."""
    served_run(folder.with_name("warm-up"))  # what is slow the first time, the forks then inherit
    moments, kills = random.Random(3), 0
    for attempt in range(20):
        child = os.fork()
        if child == 0:
            try:
                served_run(folder)
            finally:
                os._exit(0)
        while os.waitpid(child, os.WNOHANG) == (0, 0):
            if logged_iteration(folder) >= 3 * attempt + 1:
                time.sleep(moments.uniform(0.0, 0.03))
                os.kill(child, signal.SIGKILL)
                kills += os.WIFSIGNALED(os.waitpid(child, 0)[1])
                break
            time.sleep(0.002)
    return kills


def main(mode: str, folder: Path) -> None:
    if mode == "real":
        real_run(folder)
    elif mode == "served":
        print(kill_served(folder))
    elif mode == "everywhere":
        # A killed process loses nothing that the system has, only a power cut would: so there is nothing to wait for.
        setattr(os, "fsync", lambda descriptor: None)  # noqa: B010
        for kill in kill_everywhere(folder):
            print(json.dumps(kill))
    elif mode == "limits":
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # the write then fails, as it does on a full disk
        for limit in LIMITS:
            resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            try:
                toy_run(folder / str(limit))
            except ElmError as error:
                resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
                print(error)
    elif mode == "full":
        run = folder / "run"
        try:
            toy_run(run)
        except ElmError as error:
            print(error, flush=True)
        subprocess.run(["mount", "-o", "remount,size=8m", str(folder)], check=True)
        toy_run(run)
        print(hashlib.sha256(repr(outcome(run)).encode()).hexdigest())


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
