"""What any generator has to beat: random walkers, and the hand-written seeds as they are."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from elm_rl.evolution.seeds import SEED_NAMES, load_seed
from sodarace_gym.suite import Task
from sodarace_gym.walkers.random_walker import random_design


class RandomPrograms:
    """Random valid walkers, as the action space samples them."""

    name = "random valid programs"

    def generate(self, task: Task, rng: np.random.Generator) -> Iterable[str]:
        """See ``Generator``."""
        return (random_design(rng).to_program() for _ in range(task.budget))


class SeedPrograms:
    """The hand-written seeds as they are; there are only four, whatever the budget."""

    name = "the four seeds"

    def generate(self, task: Task, rng: np.random.Generator) -> Iterable[str]:
        """See ``Generator``."""
        return [load_seed(name) for name in SEED_NAMES]
