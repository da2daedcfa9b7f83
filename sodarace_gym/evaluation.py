"""Programs in, distances out: the seam that every generator of walkers uses."""

from __future__ import annotations

import math
import os
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType, TracebackType
from typing import TypeVar

import joblib

from sodarace_gym.errors import ProgramError
from sodarace_gym.physics import DURATION, MAX_SPEED, SETTLING_LIMIT, Rollout, roll_out
from sodarace_gym.program import compile_program
from sodarace_gym.terrain import Terrain, make_terrain
from sodarace_gym.walker import WalkerDesign

Job = TypeVar("Job")
Outcome = TypeVar("Outcome")

CACHE_SIZE = 20_000
"""Roll-outs an Evaluator remembers, so that a design met before is not simulated again."""

_FAULTS = {
    "unstable": f"a joint moved faster than {MAX_SPEED:g} units/s; use fewer or weaker muscles at one joint.",
    "escaped": "a joint was pressed into the ground, a wall or the ceiling; use fewer or weaker muscles at one joint.",
    "unsettled": f"the walker did not come to rest within {SETTLING_LIMIT:g} s with its muscles still; make it stiffer.",
}


@dataclass(frozen=True)
class EvaluationError:
    """Why a program got no distance.

    Attributes:
        kind: One of ``errors.ERROR_KINDS``.
        message: What was wrong and what to change.
    """

    kind: str
    message: str


@dataclass(frozen=True)
class Evaluation:
    """What became of one program on one terrain.

    Attributes:
        fitness: Distance covered along x, walker units, >= 0; 0.0 where there is an error.
        displacement: The same with its sign.
        height: Height of the walker at the start, walker units; 0.0 without a design.
        width: Width of the walker at the start, walker units; 0.0 without a design.
        mass: Joints plus half the summed rest lengths; 0.0 without a design.
        design: The walker, or None if the program made none.
        error: None, or why there is no distance.
        repairs: How often each repair was needed to bring the design within the limits.
    """

    fitness: float = 0.0
    displacement: float = 0.0
    height: float = 0.0
    width: float = 0.0
    mass: float = 0.0
    design: WalkerDesign | None = None
    error: EvaluationError | None = None
    repairs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))

    @property
    def valid(self) -> bool:
        """Whether the program built a walker that could be simulated."""
        return self.error is None


class Evaluator:
    """Evaluates walker programs on terrains, in parallel threads; a design met before costs nothing.

    The compiled physics and the sandbox both release Python's lock, so threads use all cores. Results depend on the program
    and the terrain alone: not on the number of threads, the order of a batch, or what was evaluated before.

    Args:
        n_jobs: Threads; -1 for one per core.
        duration: Simulated time a walker walks, s.
        cache_size: Roll-outs to remember; 0 remembers none.

    Raises:
        ValueError: ``n_jobs`` is 0 or below -1, ``duration`` is not positive and finite, or ``cache_size`` is negative.
    """

    def __init__(self, n_jobs: int = -1, duration: float = DURATION, cache_size: int = CACHE_SIZE) -> None:
        if n_jobs == 0 or n_jobs < -1:
            raise ValueError(f"n_jobs: expected a positive number of threads or -1 for one per core, got {n_jobs}.")
        if not 0.0 < duration < math.inf:
            raise ValueError(f"duration: expected a positive number of seconds, got {duration}.")
        if cache_size < 0:
            raise ValueError(f"cache_size: expected a number of roll-outs, 0 or more, got {cache_size}.")
        self.n_jobs = n_jobs if n_jobs > 0 else os.cpu_count() or 1
        self.duration = duration
        self.cache_size = cache_size
        self._rollouts: OrderedDict[tuple[WalkerDesign, tuple[bytes, bytes]], Rollout] = OrderedDict()
        self._parallel = joblib.Parallel(n_jobs=self.n_jobs, backend="threading", batch_size="auto")
        self._entered = False
        self._lock = Lock()

    def __enter__(self) -> Evaluator:
        """Keeps the threads between calls of ``evaluate``."""
        self._parallel.__enter__()
        self._entered = True
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets the threads go."""
        self.close()

    def close(self) -> None:
        """Lets the threads and the remembered roll-outs go; the evaluator can be used again."""
        if self._entered:
            self._entered = False
            self._parallel.__exit__(None, None, None)
        self._rollouts.clear()

    def evaluate(self, programs: Sequence[str], terrain: Terrain | str | Sequence[Terrain | str]) -> list[Evaluation]:
        """Runs programs and the walkers they build.

        Args:
            programs: Program texts.
            terrain: One terrain for all programs, or a sequence with one for each; a string is the name of a family, made
                with seed 0.

        Returns:
            One evaluation per program, in order. A bad program yields an evaluation with an error; it never raises.

        Raises:
            TypeError: ``programs`` is a single text.
            ValueError: The number of terrains is not that of the programs, or a terrain's name is unknown.
        """
        if isinstance(programs, str):
            raise TypeError("programs: expected a sequence of program texts, got one text; put it in a list.")
        terrains = self._terrains(terrain, len(programs))
        with self._lock:  # joblib's pool serves one batch at a time
            return self._evaluate(programs, terrains)

    def _evaluate(self, programs: Sequence[str], terrains: Sequence[Terrain]) -> list[Evaluation]:
        built = dict(zip(dict.fromkeys(programs), self._map(_build, list(dict.fromkeys(programs))), strict=True))
        wanted: dict[tuple[WalkerDesign, tuple[bytes, bytes]], Terrain] = {}
        for program, ground in zip(programs, terrains, strict=True):
            design = built[program][0]
            if isinstance(design, WalkerDesign):
                wanted.setdefault((design, ground.key), ground)
        fresh = {key: ground for key, ground in wanted.items() if key not in self._rollouts}
        jobs = [(design, ground, self.duration) for (design, _), ground in fresh.items()]
        outcomes = dict(zip(fresh, self._map(_walk, jobs), strict=True))
        outcomes |= {key: self._rollouts[key] for key in wanted if key not in fresh}
        self._remember(outcomes)
        return [
            _evaluation(built[program], outcomes, ground.key)
            for program, ground in zip(programs, terrains, strict=True)
        ]

    @staticmethod
    def _terrains(terrain: Terrain | str | Sequence[Terrain | str], count: int) -> list[Terrain]:
        given = [terrain] * count if isinstance(terrain, (Terrain, str)) else list(terrain)
        if len(given) != count:
            raise ValueError(f"terrain: expected one terrain or one for each of {count} programs, got {len(given)}.")
        named = {name: make_terrain(name) for name in {ground for ground in given if isinstance(ground, str)}}
        return [named[ground] if isinstance(ground, str) else ground for ground in given]

    def _map(self, function: Callable[[Job], Outcome], jobs: Sequence[Job]) -> list[Outcome]:
        if self.n_jobs == 1 or len(jobs) < 2:
            return [function(job) for job in jobs]
        return list(self._parallel(joblib.delayed(function)(job) for job in jobs))

    def _remember(self, outcomes: Mapping[tuple[WalkerDesign, tuple[bytes, bytes]], Rollout]) -> None:
        for key, rollout in outcomes.items():
            self._rollouts[key] = rollout
            self._rollouts.move_to_end(key)
        while len(self._rollouts) > self.cache_size:
            self._rollouts.popitem(last=False)


def _build(program: str) -> tuple[WalkerDesign | EvaluationError, Mapping[str, int]]:
    try:
        design, repairs = compile_program(program)
    except ProgramError as error:
        return EvaluationError(error.kind, error.message), MappingProxyType({})
    return design, MappingProxyType(repairs)


def _walk(job: tuple[WalkerDesign, Terrain, float]) -> Rollout:
    return roll_out(*job)


def _evaluation(
    built: tuple[WalkerDesign | EvaluationError, Mapping[str, int]],
    outcomes: Mapping[tuple[WalkerDesign, tuple[bytes, bytes]], Rollout],
    terrain_key: tuple[bytes, bytes],
) -> Evaluation:
    design, repairs = built
    if isinstance(design, EvaluationError):
        return Evaluation(error=design)
    rollout = outcomes[design, terrain_key]
    error = None if rollout.fault is None else EvaluationError(rollout.fault, _FAULTS[rollout.fault])
    displacement = rollout.displacement if error is None else 0.0
    return Evaluation(
        fitness=abs(displacement),
        displacement=displacement,
        height=design.height,
        width=design.width,
        mass=design.mass,
        design=design,
        error=error,
        repairs=repairs,
    )
