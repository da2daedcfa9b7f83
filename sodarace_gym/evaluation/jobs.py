"""The parts of an evaluation: programs build walkers, walkers walk, and what they did becomes evaluations."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from sodarace_gym.errors import ProgramError
from sodarace_gym.evaluation.evaluation import Evaluation, EvaluationError
from sodarace_gym.physics.constants import MAX_SPEED, SETTLING_LIMIT
from sodarace_gym.physics.robustness import design_digest, perturbed
from sodarace_gym.physics.rollout import Rollout, roll_out_many
from sodarace_gym.programs.program import compile_programs
from sodarace_gym.terrains.terrain import Terrain
from sodarace_gym.walkers.walker import WalkerDesign

_FAULTS = {
    "unstable": f"a joint moved faster than {MAX_SPEED:g} units/s; use fewer or weaker muscles at one joint.",
    "escaped": "a joint was pressed into the ground, a wall or the ceiling; use fewer or weaker muscles at one joint, or a "
    "smaller walker if there is no room for it at the start.",
    "unsettled": f"the walker did not come to rest within {SETTLING_LIMIT:g} s with its muscles still; make it stiffer.",
}


class Built(NamedTuple):
    """What a program built: a walker, or an error."""

    design: WalkerDesign | None
    digest: bytes  # of the design
    error: EvaluationError | None
    repairs: dict[str, int]


class Job(NamedTuple):
    """A roll-out to do: of a walker (copy 0) or of one of its perturbed copies."""

    design: WalkerDesign
    copy: int
    terrain: Terrain


def build(programs: Iterable[str], processes: int | None) -> Iterator[Built]:
    """Runs programs.

    Args:
        programs: Their texts; taken as interpreters become free.
        processes: Most interpreters at a time; None for one per core.

    Yields:
        What each program built, in order.
    """
    for outcome in compile_programs(programs, processes=processes):
        if isinstance(outcome, ProgramError):
            yield Built(None, b"", EvaluationError(outcome.kind, outcome.message), {})
        else:
            design, repairs = outcome
            yield Built(design, design_digest(design), None, repairs)


def build_all(programs: Sequence[str]) -> list[Built]:
    """Runs programs, one at a time: other workers run others."""
    return list(build(programs, 1))


def walk(jobs: Sequence[Job], duration: float, engine: str, gait: bool) -> list[Rollout]:
    """Rolls walkers out side by side.

    Args:
        jobs: Who is to walk, and where.
        duration: Time to walk, s.
        engine: See ``roll_out``.
        gait: Whether to look at how they go.
    """
    designs = [perturbed(job.design, job.copy) if job.copy else job.design for job in jobs]
    return roll_out_many(designs, [job.terrain for job in jobs], duration, engine=engine, gait=gait)


class Grounds:
    """The terrains of a batch, equal ones as one object, so that what is sent to a worker holds each once."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[Terrain, Terrain, bytes]] = {}
        self._first: dict[bytes, Terrain] = {}

    def shared(self, terrain: Terrain) -> tuple[Terrain, bytes]:
        """The first terrain with the same ground, and 16 bytes that tell grounds apart."""
        if id(terrain) not in self._known:
            digest = hashlib.blake2b(digest_size=16)
            for part in terrain.key:
                digest.update(len(part).to_bytes(8, "big"))
                digest.update(part)
            key = digest.digest()
            # The terrain itself is kept too, lest another one gets its id.
            self._known[id(terrain)] = terrain, self._first.setdefault(key, terrain), key
        return self._known[id(terrain)][1:]


def text_digest(program: Any) -> bytes | None:
    """16 bytes that tell texts apart; None for what is no text."""
    if not isinstance(program, str):
        return None
    return hashlib.blake2b(program.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def evaluation_of(walker: Built, rollouts: Sequence[Rollout], robustness: int, gait: bool) -> Evaluation:
    """The evaluation of a walker that did the first of the roll-outs, and whose copies did the others."""
    unmoved = 0.0 if gait else None
    if walker.design is None:
        robust, copies = (0.0, (0.0,) * robustness) if robustness else (None, None)
        return Evaluation(
            error=walker.error,
            robust_fitness=robust,
            copy_distances=copies,
            ground_share=unmoved,
            mean_height=unmoved,
        )
    fault, went = rollouts[0].fault, rollouts[0].gait
    displacement = rollouts[0].displacement if fault is None else 0.0
    distances = [abs(rollout.displacement) if rollout.fault is None else 0.0 for rollout in rollouts]
    return Evaluation(
        fitness=abs(displacement),
        displacement=displacement,
        height=walker.design.height,
        width=walker.design.width,
        mass=walker.design.mass,
        design=walker.design,
        error=None if fault is None else EvaluationError(fault, _FAULTS[fault]),
        repairs=MappingProxyType(dict(walker.repairs)),
        robust_fitness=min(distances) if robustness else None,
        copy_distances=tuple(distances[1:]) if robustness else None,
        ground_share=unmoved if went is None else went.ground_share,
        mean_height=unmoved if went is None else went.mean_height,
    )
