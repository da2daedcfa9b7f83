"""Programs in, distances out: the seam that every generator of walkers uses."""

from __future__ import annotations

import itertools
import os
import weakref
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from threading import Lock, get_ident
from types import TracebackType
from typing import Any, Self, TypeVar

from sodarace_gym.arguments import checked_duration, checked_whole
from sodarace_gym.evaluation.evaluation import Evaluation
from sodarace_gym.evaluation.jobs import Built, Grounds, Job, build, build_all, evaluation_of, text_digest, walk
from sodarace_gym.evaluation.parallel_map import ParallelMap
from sodarace_gym.physics.constants import DURATION
from sodarace_gym.physics.robustness import design_digest
from sodarace_gym.physics.rollout import Rollout, checked_engine
from sodarace_gym.programs.program import CompiledProgram
from sodarace_gym.terrains.distribution import TerrainDraw, as_terrain
from sodarace_gym.terrains.terrain import Terrain

Value = TypeVar("Value")

CACHE_SIZE = 20_000
"""Roll-outs an Evaluator remembers, so that a design met before is not simulated again: some 8 MB."""
PROGRAM_CACHE_SIZE = 2_000
"""Programs whose walkers an Evaluator remembers, beyond those of the last batch: a walker takes 5 KB, the largest 70 KB."""


class Evaluator:
    """Evaluates walker programs on terrains, in parallel; a program or a design met before costs nothing.

    Walkers are rolled out side by side, as they come: while some walk, the programs of others are run, and even those of a
    stream still being written. Threads use all cores, because the compiled physics and the sandbox both release Python's lock;
    other backends spread the work over processes or a cluster (see :class:`sodarace_gym.evaluation.ParallelMap`). Results
    depend on the program and the terrain alone: not on the backend, the number of workers, the order of a batch, or what was
    evaluated before.

    With ``robustness=k`` every walker is rolled out k times more, as copies whose joints are off by some thousandths of a unit
    (:func:`sodarace_gym.physics.robustness.perturbed`), and each evaluation gets a ``robust_fitness``: the *least* of the k + 1
    distances, where a copy that fails counts as 0. The least and not the mean, because evolution keeps the best of thousands:
    a mean that includes one lucky trajectory still pays for it, the least never exceeds ``fitness`` and no luck can raise it.
    It takes k + 1 times the physics; 2 or 3 tell chaos from walking. Everything else in the evaluation stays as it was.

    With ``gait=True`` each evaluation says how the walker went: ``ground_share`` and ``mean_height``, looked at twenty times a
    simulated second (:class:`sodarace_gym.physics.gait.Gait`).

    An evaluator can be pickled: the copy has the same settings, workers of its own, and remembers nothing. In a forked process
    it works on, with workers of its own.

    Args:
        n_jobs: Workers; -1 for one per core.
        duration: Simulated time a walker walks, s.
        cache_size: Roll-outs to remember; 0 remembers nothing at all.
        program_cache_size: Programs whose walkers to remember, beyond those of the last batch.
        backend: ``"threading"``, ``"loky"``, ``"dask"``, ``"ray"`` or another name that joblib knows.
        robustness: Perturbed copies per walker.
        engine: What rolls walkers out: "compiled", or "pymunk" for pymunk's Python interface, which gives the same floats and
            takes thirty to fifty times as long.
        gait: Whether to look at how walkers go.

    Attributes:
        left_to_pymunk: How many roll-outs the compiled engine had no room for, so that pymunk did them: walkers among more than
            a hundred segments of a terrain, say.

    Raises:
        ValueError: ``n_jobs`` is 0 or below -1, ``duration`` is not positive and finite, a size or ``robustness`` is
            negative, or the backend or the engine is unknown.
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
        engine: str = "compiled",
        gait: bool = False,
    ) -> None:
        self.n_jobs = n_jobs
        self._duration = checked_duration(duration)
        self.cache_size = checked_whole("cache_size", cache_size, "a number of roll-outs, 0 or more")
        expected = "a number of programs, 0 or more"
        self.program_cache_size = checked_whole("program_cache_size", program_cache_size, expected)
        self.backend = backend
        self.robustness = _checked_copies(robustness)
        self.engine = checked_engine(engine)
        self.gait = bool(gait)
        self.left_to_pymunk = 0
        self._map = ParallelMap(n_jobs, backend)
        # Digests as keys: a terrain's points in every key would outweigh the roll-outs many times.
        self._programs: OrderedDict[bytes, Built] = OrderedDict()
        self._rollouts: OrderedDict[bytes, Rollout] = OrderedDict()
        self._lock = Lock()
        self._reader: int | None = None  # the thread that is asking for a program
        _evaluators.add(self)

    @property
    def duration(self) -> float:
        """Simulated time a walker walks, s; fixed, as what is remembered was walked for so long."""
        return self._duration

    def __getstate__(self) -> dict[str, Any]:
        names = ("n_jobs", "duration", "cache_size", "backend", "robustness", "program_cache_size", "engine", "gait")
        return {name: getattr(self, name) for name in names}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __enter__(self) -> Self:
        """Keeps the workers between calls of ``evaluate``."""
        self._map.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Lets the workers go."""
        self.close()

    def close(self) -> None:
        """Lets the workers and all that is remembered go; the evaluator can be used again."""
        self._map.close()
        self._programs.clear()
        self._rollouts.clear()

    def evaluate(
        self,
        programs: Iterable[str],
        terrain: Terrain | TerrainDraw | str | Sequence[Terrain | TerrainDraw | str],
        *,
        robustness: int | None = None,
    ) -> list[Evaluation]:
        """Runs programs and the walkers they build.

        Args:
            programs: Program texts. They may be made as they are asked for: with threads, the first are run meanwhile. A
                :class:`sodarace_gym.programs.CompiledProgram` is not run again.
            terrain: One terrain for all programs, or a sequence with one for each: a Terrain, a TerrainDraw, or the name of
                a family, made with seed 0.
            robustness: Perturbed copies per walker, this time; the evaluator's own when left out.

        Returns:
            One evaluation per program, in order. A bad program yields an evaluation with an error; it never raises.

        Raises:
            TypeError: ``programs`` is a single text.
            ValueError: The number of terrains is not that of the programs, something names no terrain, or ``robustness`` is
                negative.
            RuntimeError: What makes the programs asks this evaluator for others.
        """
        copies = self.robustness if robustness is None else _checked_copies(robustness)
        if isinstance(programs, str):
            raise TypeError("programs: expected a sequence of program texts, got one text; put it in a list.")
        if isinstance(terrain, (Terrain, TerrainDraw, str)):
            grounds: Iterable[Terrain] = itertools.repeat(as_terrain(terrain))
        else:
            programs = list(programs)
            grounds = self._terrains(terrain, len(programs))
        if self._reader == get_ident():
            raise RuntimeError(
                "programs: what makes them called evaluate of the same evaluator, which would wait for itself; make a list of "
                "the programs first, or use a second Evaluator."
            )
        with self._lock:  # workers serve one batch at a time
            return self._evaluate(self._asked(programs), grounds, copies)

    def _asked(self, programs: Iterable[str]) -> Iterator[str]:
        """The programs; remembers which thread waits for the next one."""
        stream = iter(programs)
        while True:
            self._reader = get_ident()
            try:
                program = next(stream)
            except StopIteration:
                return
            finally:
                self._reader = None
            yield program

    def _evaluate(self, programs: Iterable[str], terrains: Iterable[Terrain], robustness: int) -> list[Evaluation]:
        built: list[Built] = []
        # Every roll-out of the batch by its key; equal keys are equal roll-outs, whoever asks for them.
        keys: list[list[bytes]] = []
        fresh: dict[bytes, Job] = {}
        grounds = Grounds()

        def jobs() -> Iterator[Job]:
            """The roll-outs that are not remembered, each as soon as its program has run."""
            for walker, terrain in zip(self._build(programs), terrains, strict=False):
                ground, digest = grounds.shared(terrain)
                copies = range(robustness + 1) if walker.design else ()
                built.append(walker)
                keys.append([digest + walker.digest + copy.to_bytes(4, "big") for copy in copies])
                for copy, key in enumerate(keys[-1]):
                    if key not in fresh and key not in self._rollouts:
                        assert walker.design is not None
                        fresh[key] = Job(walker.design, copy, ground)
                        yield fresh[key]

        done = list(self._map(partial(walk, duration=self.duration, engine=self.engine, gait=self.gait), jobs()))
        if self.engine == "compiled":
            self.left_to_pymunk += sum(rollout.engine == "pymunk" for rollout in done)
        outcomes = dict(zip(fresh, done, strict=True))
        outcomes = {key: outcomes[key] if key in outcomes else self._rollouts[key] for asked in keys for key in asked}
        _remember(self._rollouts, outcomes, self.cache_size)
        return [
            evaluation_of(walker, [outcomes[key] for key in asked], robustness, self.gait)
            for walker, asked in zip(built, keys, strict=True)
        ]

    def _build(self, programs: Iterable[str]) -> Iterator[Built]:
        """What each program builds, in order."""
        # In order, so that what is forgotten first does not depend on what was fresh.
        outcomes: dict[bytes, Built] = {}
        # By stretches: a walker that is there already may walk before the next text is made.
        for compiled, stretch in itertools.groupby(programs, key=lambda program: isinstance(program, CompiledProgram)):
            walkers = self._take if compiled else self._run
            yield from walkers(stretch, outcomes)
        _remember(self._programs, outcomes, min(self.cache_size, max(self.program_cache_size, len(outcomes))))

    @staticmethod
    def _take(programs: Iterable[Any], outcomes: dict[bytes, Built]) -> Iterator[Built]:
        """What compiled programs have built; ``outcomes`` takes it by the digest of the text."""
        for program in programs:
            built = Built(program.design, design_digest(program.design), None, program.repairs)
            outcomes[text_digest(program) or b""] = built
            yield built

    def _run(self, programs: Iterable[str], outcomes: dict[bytes, Built]) -> Iterator[Built]:
        """What programs build; every distinct text that is neither remembered nor in ``outcomes`` is run once."""
        asked: list[tuple[bytes | None, str]] = []

        def fresh() -> Iterator[str]:
            met: set[bytes] = set()
            for program in programs:
                digest = text_digest(program)
                asked.append((digest, program))
                if digest is not None and not any(digest in known for known in (met, outcomes, self._programs)):
                    met.add(digest)
                    yield program

        # Here, programs are run from this one thread, which keeps several interpreters busy; elsewhere, where walkers walk.
        run = build(fresh(), self._map.workers) if self._map.shares_memory else self._map(build_all, fresh())
        ahead: deque[Built] = deque()
        place = 0
        while True:
            if place == len(asked):
                # Programs are asked for only when their outcomes are: there may be more.
                ahead.extend(itertools.islice(run, 1))
                if place == len(asked):
                    break
            digest, program = asked[place]
            place += 1
            if digest is None:  # what is no text is refused at once, without an interpreter
                yield next(build([program], 1))
                continue
            if digest not in outcomes:
                known = self._programs.get(digest)
                outcomes[digest] = known or (ahead.popleft() if ahead else next(run))
            yield outcomes[digest]

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


def _checked_copies(robustness: int) -> int:
    return checked_whole("robustness", robustness, "a number of copies, 0 or more")


_evaluators: weakref.WeakSet[Evaluator] = weakref.WeakSet()


def _after_fork_in_child() -> None:
    for evaluator in list(_evaluators):
        # It may be held by a thread that exists only in the parent.
        evaluator._lock = Lock()
        evaluator._reader = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _remember(memory: OrderedDict[bytes, Value], outcomes: Mapping[bytes, Value], size: int) -> None:
    """Adds outcomes as the newest, and forgets the oldest beyond a size."""
    for key, outcome in outcomes.items():
        memory[key] = outcome
        memory.move_to_end(key)
    while len(memory) > size:
        memory.popitem(last=False)
