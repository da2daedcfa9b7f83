"""Toy operators and a toy evaluator, for runs whose every child the test decides."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from elm_rl.evolution.map_elites import EvolutionResult, EvolveConfig, run_evolution
from elm_rl.mutation.operator import Child, MutationOperator, Outcome, Parent
from elm_rl.runs.children_file import read_children
from sodarace_gym.evaluation import Evaluation, EvaluationError
from sodarace_gym.walkers.walker import Muscle, WalkerDesign


class ToyEvaluator:
    """Takes four numbers "height width mass fitness" at their word; the seeds stand still; "slow" takes its time."""

    def __init__(self) -> None:
        self.scored: list[tuple[str, str]] = []

    def evaluate(self, programs: Any, terrain: Any, robustness: int = 0) -> list[Evaluation]:
        grounds = terrain if isinstance(terrain, list) else None
        return [self._score(program, grounds[index] if grounds else terrain) for index, program in enumerate(programs)]

    def _score(self, program: str, terrain: Any) -> Evaluation:
        self.scored.append((program, terrain.name))
        if "make_walker" in program:
            return self._score("1 1 1 0.5", terrain)
        try:
            height, width, mass, fitness = (float(number) for number in program.split()[:4])
        except ValueError:
            return Evaluation(error=EvaluationError("syntax_error", f"no numbers in {program!r}"))
        fitness += terrain.name == "Hills"
        design = WalkerDesign(((0.0, 0.0), (width, height), (mass, fitness)), (Muscle(0, 1),))
        return Evaluation(fitness, fitness, height, width, mass, design)


class Toy(MutationOperator):
    """Makes every child by one function of (parent, rng)."""

    def __init__(self, name: str, make: Callable[[Parent, np.random.Generator], str | None], **ways: Any) -> None:
        self.name = name
        self.make = make
        self.outcomes: list[Outcome] = []
        for way, value in ways.items():
            setattr(self, way, value)

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        for parent in parents:
            yield Child(self.make(parent, rng), self.name, "why")

    def learn(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes += outcomes


def anywhere(parent: Parent, rng: np.random.Generator) -> str:
    return " ".join(repr(float(number)) for number in rng.uniform((0, 0, 0, 0), (24, 30, 400, 9)))


def evolve(out: Path, *operators: Toy, resume: bool = False, evaluator: Any = None, **settings: Any) -> EvolutionResult:
    config = EvolveConfig(
        out=out,
        operators=tuple(f"gp,name={operator.name}" for operator in operators),
        **{"seeds": ("square",), "iterations": 5, "batch_size": 12, "progress": False, **settings},
    )
    return run_evolution(config, operators, evaluator or ToyEvaluator(), resume=resume)


def children_of(out: Path) -> list[dict[str, Any]]:
    return [{**line, "time": None} for line in read_children(out)]
