"""Hill climbing by genetic programming: the simplest search over programs."""

from __future__ import annotations

import numpy as np

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from elm_rl.mutation.gp.operator import GPMutation
from elm_rl.mutation.operator import parents_of
from sodarace_gym.suite import Task


class GPHillClimbing:
    """A (1 + batch) hill climber per seed program over GP mutation, the budget shared equally."""

    name = "GP hill climbing"
    batch = 16

    def generate(self, task: Task, rng: np.random.Generator) -> None:
        """See ``Generator``."""
        operator = GPMutation()
        programs = [load_seed(name) for name in SEED_NAMES]
        best = [evaluation.score for evaluation in task.evaluate(programs)]
        turn = 0
        while task.left > 0:
            climber = turn % len(programs)
            children = operator.mutate(parents_of([programs[climber]] * min(self.batch, task.left)), rng)
            texts = [child.program for child in children if child.program is not None]
            for text, evaluation in zip(texts, task.evaluate(texts), strict=True):
                if evaluation.valid and evaluation.score >= best[climber]:
                    programs[climber], best[climber] = text, evaluation.score
            turn += 1
