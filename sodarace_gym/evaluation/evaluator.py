"""Programs in, distances out: the seam that every generator of walkers uses."""

from __future__ import annotations

import hashlib
import itertools
import os
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from sodarace_gym.arguments import checked_duration, checked_whole
from sodarace_gym.errors import ProgramError
from sodarace_gym.evaluation.parallel_map import ParallelMap
from sodarace_gym.physics.constants import DURATION, MAX_SPEED, SETTLING_LIMIT
from sodarace_gym.physics.robustness import design_digest, perturbed
from sodarace_gym.physics.rollout import Rollout, roll_out
from sodarace_gym.programs.program import compile_program
from sodarace_gym.terrains.distribution import TerrainDraw, as_terrain
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign

Value = TypeVar("Value")

CACHE_SIZE = 20_000
"""Roll-outs an Evaluator remembers, so that a design met before is not simulated again: some 8 MB."""
PROGRAM_CACHE_SIZE = 2_000
"""Programs whose walkers an Evaluator remembers, beyond those of the last batch: a walker takes 5 KB, the largest 70 KB."""

_FAULTS = {
    "unstable": f"a joint moved faster than {MAX_SPEED:g} units/s; use fewer or weaker muscles at one joint.",
    "escaped": "a joint was pressed into the ground, a wall or the ceiling; use fewer or weaker muscles at one joint, or a "
    "smaller walker if there is no room for it at the start.",
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
        repairs: How often each repair was needed to bring the design within the limits; read-only.
        robust_fitness: The least distance among the walker and its perturbed copies, walker units, 0.0 where there is an
            error; None where the Evaluator makes no copies.
    """

    fitness: float = 0.0
    displacement: float = 0.0
    height: float = 0.0
    width: float = 0.0
    mass: float = 0.0
    design: WalkerDesign | None = None
    error: EvaluationError | None = None
    repairs: Mapping[str, int] = field(default_factory=lambda: MappingProxyType({}))
    robust_fitness: float | None = None

    @property
    def valid(self) -> bool:
        """Whether the program built a walker that could be simulated."""
        return self.error is None

    def __getstate__(self) -> dict[str, Any]:
        # Read-only views do not pickle; plain dicts do.
        return self.__dict__ | {"repairs": dict(self.repairs)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state | {"repairs": MappingProxyType(state["repairs"])})


class Evaluator:
    """Evaluates walker programs on terrains, in parallel; a program or a design met before costs nothing.

    Threads use all cores, because the compiled physics and the sandbox both release Python's lock; other backends spread the
    work over processes or a cluster (see :class:`sodarace_gym.evaluation.ParallelMap`). Results depend on the program and
    the terrain alone: not on the backend, the number of workers, the order of a batch, or what was evaluated before.

    With ``robustness=k`` every walker is rolled out k times more, as copies whose joints are off by some thousandths of a unit
    (:func:`sodarace_gym.physics.robustness.perturbed`), and each evaluation gets a ``robust_fitness``: the *least* of the k + 1
    distances, where a copy that fails counts as 0. The least and not the mean, because evolution keeps the best of thousands:
    a mean that includes one lucky trajectory still pays for it, the least never exceeds ``fitness`` and no luck can raise it.
    It takes k + 1 times the physics; 2 or 3 tell chaos from walking. Everything else in the evaluation stays as it was.

    An evaluator can be pickled: the copy has the same settings, workers of its own, and remembers nothing. In a forked process
    it works on, with workers of its own.

    Args:
        n_jobs: Workers; -1 for one per core.
        duration: Simulated time a walker walks, s.
        cache_size: Roll-outs to remember; 0 remembers nothing at all.
        program_cache_size: Programs whose walkers to remember, beyond those of the last batch.
        backend: ``"threading"``, ``"loky"``, ``"dask"``, ``"ray"`` or another name that joblib knows.
        robustness: Perturbed copies per walker.

    Raises:
        ValueError: ``n_jobs`` is 0 or below -1, ``duration`` is not positive and finite, a size or ``robustness`` is
            negative, or the backend is unknown.
        ImportError: The backend's package is missing.
        RuntimeError: There is no connection to the backend's cluster yet.
    """

    def __init__(
        self,
        n_jobs: int = -1,
        duration: float = DURATION,
        cache_size: int = CACHE_SIZE,
        backend: str = "threading",
        robustness: int = 0,
        program_cache_size: int = PROGRAM_CACHE_SIZE,
    ) -> None:
        self.n_jobs = n_jobs
        self._duration = checked_duration(duration)
        self.cache_size = checked_whole("cache_size", cache_size, "a number of roll-outs, 0 or more")
        expected = "a number of programs, 0 or more"
        self.program_cache_size = checked_whole("program_cache_size", program_cache_size, expected)
        self.backend = backend
        self.robustness = checked_whole("robustness", robustness, "a number of copies, 0 or more")
        self._map = ParallelMap(n_jobs, backend)
        # Threads that run programs mostly wait for the sandbox's processes: others run walkers meanwhile.
        self._building_map = ParallelMap(n_jobs, backend) if self._map.streams else self._map
        # Digests as keys: a terrain's points in every key would outweigh the roll-outs many times.
        self._programs: OrderedDict[bytes, _Built] = OrderedDict()
        self._rollouts: OrderedDict[bytes, Rollout] = OrderedDict()
        self._lock = Lock()
        _evaluators.add(self)

    @property
    def duration(self) -> float:
        """Simulated time a walker walks, s; fixed, as what is remembered was walked for so long."""
        return self._duration

    def __getstate__(self) -> dict[str, Any]:
        names = ("n_jobs", "duration", "cache_size", "backend", "robustness", "program_cache_size")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __enter__(self) -> Self:
        """Keeps the workers between calls of ``evaluate``."""
        self._map.__enter__()
        self._building_map.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets the workers go."""
        self.close()

    def close(self) -> None:
        """Lets the workers and all that is remembered go; the evaluator can be used again."""
        self._map.close()
        self._building_map.close()
        self._programs.clear()
        self._rollouts.clear()

    def evaluate(
        self,
        programs: Iterable[str],
        terrain: Terrain | TerrainDraw | str | Sequence[Terrain | TerrainDraw | str],
    ) -> list[Evaluation]:
        """Runs programs and the walkers they build.

        Args:
            programs: Program texts. They may be made as they are asked for: threads run the first meanwhile.
            terrain: One terrain for all programs, or a sequence with one for each: a Terrain, a TerrainDraw, or the name of
                a family, made with seed 0.

        Returns:
            One evaluation per program, in order. A bad program yields an evaluation with an error; it never raises.

        Raises:
            TypeError: ``programs`` is a single text.
            ValueError: The number of terrains is not that of the programs, or something names no terrain.
        """
        if isinstance(programs, str):
            raise TypeError("programs: expected a sequence of program texts, got one text; put it in a list.")
        if isinstance(terrain, (Terrain, TerrainDraw, str)):
            grounds: Iterable[tuple[Terrain, bytes]] = itertools.repeat(_grounds(self._terrains(terrain, 1))[0])
        else:
            programs = list(programs)
            grounds = _grounds(self._terrains(terrain, len(programs)))
        with self._lock:  # joblib's workers serve one batch at a time
            return self._evaluate(programs, grounds)

    def _evaluate(self, programs: Iterable[str], grounds: Iterable[tuple[Terrain, bytes]]) -> list[Evaluation]:
        built: list[_Built] = []
        # Every roll-out of the batch by its key; equal keys are equal roll-outs, whoever asks for them.
        keys: list[list[bytes]] = []
        fresh: dict[bytes, _Job] = {}

        def jobs() -> Iterator[_Job]:
            """The roll-outs that are not remembered, each as soon as its program has run."""
            for walker, (ground, digest) in zip(self._build(programs), grounds, strict=False):
                copies = range(self.robustness + 1) if walker.design else ()
                built.append(walker)
                keys.append([digest + walker.digest + copy.to_bytes(4, "big") for copy in copies])
                for copy, key in enumerate(keys[-1]):
                    if key not in fresh and key not in self._rollouts:
                        assert walker.design is not None
                        fresh[key] = _Job(walker.design, copy, ground, self.duration)
                        yield fresh[key]

        done = list(self._map(_walk, jobs()))
        outcomes = dict(zip(fresh, done, strict=True))
        outcomes = {key: outcomes[key] if key in outcomes else self._rollouts[key] for asked in keys for key in asked}
        _remember(self._rollouts, outcomes, self.cache_size)
        return [
            _evaluation(walker, [outcomes[key] for key in asked], self.robustness)
            for walker, asked in zip(built, keys, strict=True)
        ]

    def _build(self, programs: Iterable[str]) -> Iterator[_Built]:
        """What each program builds, in order; every distinct text that is not remembered is run once."""
        asked: list[tuple[bytes | None, str]] = []

        def fresh() -> Iterator[str]:
            met: set[bytes] = set()
            for program in programs:
                digest = _text_digest(program)
                asked.append((digest, program))
                if digest is not None and digest not in met and digest not in self._programs:
                    met.add(digest)
                    yield program

        run = self._building_map(_build, fresh())
        ahead: deque[_Built] = deque()
        # In order, so that what is forgotten first does not depend on what was fresh.
        outcomes: dict[bytes, _Built] = {}
        place = 0
        while True:
            if place == len(asked):
                # Programs are asked for only when their outcomes are: there may be more.
                ahead.extend(itertools.islice(run, 1))
                if place == len(asked):
                    break
            digest, program = asked[place]
            place += 1
            if digest is None:  # what is no text is refused at once, without a worker
                yield _build(program)
                continue
            if digest not in outcomes:
                known = self._programs.get(digest)
                outcomes[digest] = known or (ahead.popleft() if ahead else next(run))
            yield outcomes[digest]
        _remember(self._programs, outcomes, min(self.cache_size, max(self.program_cache_size, len(outcomes))))

    @staticmethod
    def _terrains(
        terrain: Terrain | TerrainDraw | str | Sequence[Terrain | TerrainDraw | str], count: int
    ) -> list[Terrain]:
        if isinstance(terrain, (Terrain, TerrainDraw, str)) or not isinstance(terrain, Iterable):
            return [as_terrain(terrain)] * count
        given = list(terrain)
        if len(given) != count:
            raise ValueError(f"terrain: expected one terrain or one for each of {count} programs, got {len(given)}.")
        # What is named several times is made once. By text: a name may hold what has no hash.
        named = {repr(ground): as_terrain(ground) for ground in given if not isinstance(ground, Terrain)}
        return [ground if isinstance(ground, Terrain) else named[repr(ground)] for ground in given]


_evaluators: weakref.WeakSet[Evaluator] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for evaluator in list(_evaluators):
        # It may be held by a thread that exists only in the parent.
        evaluator._lock = Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


class _Built(NamedTuple):
    """What a program built: a walker, or an error."""

    design: WalkerDesign | None
    digest: bytes  # of the design
    error: EvaluationError | None
    repairs: dict[str, int]


class _Job(NamedTuple):
    """A roll-out to do: of a walker (copy 0) or of one of its perturbed copies."""

    design: WalkerDesign
    copy: int
    terrain: Terrain
    duration: float


def _build(program: str) -> _Built:
    try:
        design, repairs = compile_program(program)
    except ProgramError as error:
        return _Built(None, b"", EvaluationError(error.kind, error.message), {})
    return _Built(design, design_digest(design), None, repairs)


def _walk(job: _Job) -> Rollout:
    design = perturbed(job.design, job.copy) if job.copy else job.design
    return roll_out(design, job.terrain, job.duration)


def _text_digest(program: Any) -> bytes | None:
    """16 bytes that tell texts apart; None for what is no text."""
    if not isinstance(program, str):
        return None
    return hashlib.blake2b(program.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def _grounds(terrains: Sequence[Terrain]) -> list[tuple[Terrain, bytes]]:
    """Each terrain with a digest of its ground, equal grounds as one object, so that a chunk of jobs holds each once."""
    digests = {id(terrain): _ground_digest(terrain) for terrain in {id(t): t for t in terrains}.values()}
    first: dict[bytes, Terrain] = {}
    for terrain in terrains:
        first.setdefault(digests[id(terrain)], terrain)
    return [(first[digests[id(terrain)]], digests[id(terrain)]) for terrain in terrains]


def _ground_digest(terrain: Terrain) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for part in terrain.key:
        digest.update(len(part).to_bytes(8, "big"))
        digest.update(part)
    return digest.digest()


def _remember(memory: OrderedDict[bytes, Value], outcomes: Mapping[bytes, Value], size: int) -> None:
    """Adds outcomes as the newest, and forgets the oldest beyond a size."""
    for key, outcome in outcomes.items():
        memory[key] = outcome
        memory.move_to_end(key)
    while len(memory) > size:
        memory.popitem(last=False)


def _evaluation(walker: _Built, rollouts: Sequence[Rollout], robustness: int) -> Evaluation:
    """The evaluation of a walker that did the first of the roll-outs, and whose copies did the others."""
    if walker.design is None:
        return Evaluation(error=walker.error, robust_fitness=0.0 if robustness else None)
    fault = rollouts[0].fault
    displacement = rollouts[0].displacement if fault is None else 0.0
    return Evaluation(
        fitness=abs(displacement),
        displacement=displacement,
        height=walker.design.height,
        width=walker.design.width,
        mass=walker.design.mass,
        design=walker.design,
        error=None if fault is None else EvaluationError(fault, _FAULTS[fault]),
        repairs=MappingProxyType(dict(walker.repairs)),
        robust_fitness=_least_distance(rollouts) if robustness else None,
    )


def _least_distance(rollouts: Sequence[Rollout]) -> float:
    return min(abs(rollout.displacement) if rollout.fault is None else 0.0 for rollout in rollouts)
