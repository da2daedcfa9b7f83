"""Programs on terrains: what judges and rewards ask of an evaluator."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol


class Scored(Protocol):
    """What a judge needs to know about one evaluated program (`sodarace_gym.evaluation.Evaluation` has it)."""

    @property
    def fitness(self) -> float:
        """Distance travelled, in walker units."""

    @property
    def valid(self) -> bool:
        """Whether the program gave a walker that could be simulated."""


class ProgramEvaluator(Protocol):
    """Anything that scores programs; `sodarace_gym.evaluation.Evaluator` is the one that simulates them."""

    def evaluate(self, programs: Sequence[str], terrain: Sequence[str]) -> Sequence[Scored]:
        """Scores each program on the terrain of the same position."""


def rollouts(evaluator: ProgramEvaluator, programs: Sequence[str], terrains: Sequence[str]) -> list[Sequence[Scored]]:
    """Every program on every terrain, in one call: for each terrain, the scores of all programs."""
    count = len(programs)
    scored = evaluator.evaluate(list(programs) * len(terrains), [name for name in terrains for _ in range(count)])
    return [scored[i * count : (i + 1) * count] for i in range(len(terrains))]
