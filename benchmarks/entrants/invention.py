"""``elm-rl invent --improve``: a policy writes for the terrain, then genetic programming improves what it wrote."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import numpy as np
import torch

from benchmarks.entrants.costs import BUILTIN_POLICY_TRAINING
from benchmarks.entrants.task_evaluator import TaskEvaluator
from elm_rl.errors import ElmError
from elm_rl.inventor.invent import InventConfig, invent_walkers
from sodarace_gym.suite import Task, Training


class Invention:
    """What ``elm-rl invent`` is by default, with what is left of the budget as `improve`; tokens are not counted.

    Args:
        model: Folder of a policy; the one that comes with the package where there is none.
        name: In tables.
        evaluations: Evaluations that a model of another folder has learnt from.
    """

    def __init__(self, model: str | None = None, name: str | None = None, evaluations: int = 0) -> None:
        self.model = None if model is None else Path(model)
        self.name = name or ("built-in policy, then GP" if model is None else f"policy {Path(model).name}, then GP")
        self.training = BUILTIN_POLICY_TRAINING if model is None else Training(evaluations=evaluations)

    def generate(self, task: Task, rng: np.random.Generator) -> None:
        """See ``Generator``."""
        torch.set_num_threads(1)  # sums are then added in one order
        samples = min(task.budget, InventConfig.samples)
        config = InventConfig(
            terrain=task.name,
            model=self.model,
            samples=samples,
            improve=task.budget - samples,
            seed=int(rng.integers(2**31)),
        )
        task.spend(model_calls=samples)
        with suppress(ElmError):  # nothing that the policy wrote is a walker: there is nothing to improve
            invent_walkers(config, TaskEvaluator(task))
