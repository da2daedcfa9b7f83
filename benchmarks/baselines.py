"""Generators of walker programs under one interface: anything that turns a terrain and a budget into evaluations.

A generator gets a ``Meter``, which evaluates programs on one terrain and keeps the books; when the budget is spent the meter
returns no more, so that every generator is compared at equal evaluations. Invalid programs cost an evaluation and score 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.models.language_model import load_language_model, load_policy
from elm_rl.models.sampling import sample_completions
from elm_rl.models.tokenizer import decode_program, start_id
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import parents_of
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.walkers.random_walker import random_design


class Meter:
    """Evaluates programs on one terrain within a budget.

    Args:
        evaluator: Does the work.
        terrain: Name of the terrain.
        budget: Evaluations allowed.
    """

    def __init__(self, evaluator: Evaluator, terrain: str, budget: int) -> None:
        self.evaluator, self.terrain, self.budget = evaluator, terrain, budget
        self.fitness: list[float] = []
        self.valid: list[bool] = []

    @property
    def left(self) -> int:
        """Evaluations left."""
        return self.budget - len(self.fitness)

    def evaluate(self, programs: Sequence[str]) -> list[Evaluation]:
        """Evaluates as many of the programs as the budget allows, in order."""
        evaluations = self.evaluator.evaluate(list(programs)[: self.left], self.terrain)
        for evaluation in evaluations:
            self.record(evaluation.fitness, evaluation.valid)
        return evaluations

    def record(self, fitness: float, valid: bool) -> None:
        """Books an evaluation that was made elsewhere."""
        self.fitness.append(fitness)
        self.valid.append(valid)


class Generator(Protocol):
    """Spends a meter's budget."""

    name: str

    def spend(self, meter: Meter, seed: int) -> bool:
        """Evaluates programs until the budget is spent; False if it cannot generate for this terrain."""
        ...


class RandomPrograms:
    """Random valid walkers, as the action space samples them."""

    name = "random valid programs"

    def spend(self, meter: Meter, seed: int) -> bool:
        """See ``Generator``."""
        rng = np.random.default_rng(seed)
        meter.evaluate([random_design(rng).to_program() for _ in range(meter.left)])
        return True


class SeedPrograms:
    """The hand-written seeds as they are; there are only four, whatever the budget."""

    name = "the four seeds"

    def spend(self, meter: Meter, seed: int) -> bool:
        """See ``Generator``."""
        meter.evaluate([load_seed(name) for name in SEED_NAMES])
        return True


class GPHillClimbing:
    """A (1 + batch) hill climber per seed program over GP mutation, the budget shared equally."""

    name = "GP hill climbing"
    batch = 16

    def spend(self, meter: Meter, seed: int) -> bool:
        """See ``Generator``."""
        rng = np.random.default_rng(seed)
        operator = GPMutation()
        programs = [load_seed(name) for name in SEED_NAMES]
        best = [evaluation.fitness for evaluation in meter.evaluate(programs)]
        turn = 0
        while meter.left > 0:
            climber = turn % len(programs)
            children = operator.mutate(parents_of([programs[climber]] * min(self.batch, meter.left)), rng)
            texts = [child.program for child in children if child.program is not None]
            for text, evaluation in zip(texts, meter.evaluate(texts), strict=True):
                if evaluation.valid and evaluation.fitness >= best[climber]:
                    programs[climber], best[climber] = text, evaluation.fitness
            turn += 1
        return True


class LanguageModelSamples:
    """Samples of the stage 2 model, which knows nothing of the terrain.

    Args:
        folder: The model.
        temperature: Sampling temperature.
    """

    name = "stage 2 samples"

    def __init__(self, folder: Path, temperature: float = 1.0) -> None:
        self.model, self.tokenizer = load_language_model(folder)
        self.temperature = temperature

    def prefix(self, terrain: str) -> list[int] | None:
        """Token ids in front of a program; None where the model has none for the terrain."""
        return []

    def spend(self, meter: Meter, seed: int) -> bool:
        """See ``Generator``."""
        prefix = self.prefix(meter.terrain)
        if prefix is None:
            return False
        prompts = [[*prefix, start_id(self.tokenizer)]] * meter.left
        completions = sample_completions(
            self.model, self.tokenizer, prompts, max_new_tokens=256, temperature=self.temperature, seed=seed
        )
        meter.evaluate([decode_program(self.tokenizer, ids) for ids in completions])
        return True


class PolicySamples(LanguageModelSamples):
    """Samples of the stage 3 policy, asked for the terrain; it speaks only of terrains it was trained on."""

    name = "stage 3 samples"

    def __init__(self, folder: Path, temperature: float = 1.0) -> None:
        self.model, self.tokenizer = load_policy(folder)
        self.temperature = temperature

    def prefix(self, terrain: str) -> list[int] | None:
        """Token ids in front of a program; None where the model has none for the terrain."""
        known = self.model.config.terrains
        return self.model.prompt_ids(terrain) if terrain in known or not known else None
