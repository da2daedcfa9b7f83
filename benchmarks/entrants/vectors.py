"""Evolution strategies on the body plan of BoxActions: 24 numbers that decode into a walker. Emitters are those of pyribs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from ribs.archives import GridArchive
from ribs.emitters import EvolutionStrategyEmitter
from ribs.schedulers import Scheduler

from elm_rl.evolution.archives import ArchiveSpec
from sodarace_gym.evaluation import Evaluation
from sodarace_gym.suite import Task
from sodarace_gym.wrappers.box_actions import PARAMETERS, decode

_SIGMA = 0.4
"""Step size at the beginning; every number lies in [-1, 1]."""
_SPEC = ArchiveSpec()
"""The map of height, width and mass that evolution of programs fills too."""


class _Strategy:
    """Emitters that adapt the covariance of their steps, and an archive of what they found."""

    name: str
    emitters: int
    batch: int
    ranker: str
    learning_rate: float | None = None
    threshold_min: float = -np.inf

    def generate(self, task: Task, rng: np.random.Generator) -> None:
        """See ``Generator``."""
        archive = GridArchive(
            solution_dim=len(PARAMETERS),
            dims=_SPEC.bins,
            ranges=_SPEC.ranges,
            learning_rate=self.learning_rate,
            threshold_min=self.threshold_min,
            seed=int(rng.integers(2**31)),
        )
        emitters = [
            EvolutionStrategyEmitter(
                archive,
                x0=rng.uniform(-0.5, 0.5, len(PARAMETERS)),
                sigma0=_SIGMA,
                ranker=self.ranker,
                selection_rule="mu",
                restart_rule="basic",
                batch_size=self.batch,
                seed=int(rng.integers(2**31)),
            )
            for _ in range(self.emitters)
        ]
        scheduler = Scheduler(archive, emitters)
        while task.left >= self.emitters * self.batch:
            found = task.evaluate(map(decode, scheduler.ask()))
            scheduler.tell([each.score for each in found], np.array([_measures(each) for each in found]))
        if task.left > 0:  # less than a generation
            task.evaluate(map(decode, scheduler.ask()))


def _measures(evaluation: Evaluation) -> NDArray[np.float64]:
    return np.array([evaluation.height, evaluation.width, evaluation.mass])


class CMAES(_Strategy):
    """CMA-ES for the distance alone (Hansen and Ostermeier 2001); its archive steers nothing but restarts."""

    name = "CMA-ES on BoxActions"
    emitters, batch, ranker = 1, 16, "obj"


class CMAMAE(_Strategy):
    """CMA-MAE (Fontaine and Nikolaidis 2023): improvement on an archive whose thresholds rise slowly."""

    name = "CMA-MAE on BoxActions"
    emitters, batch, ranker = 4, 16, "imp"
    learning_rate, threshold_min = 0.01, 0.0


class RandomVectors:
    """Random search over the body plan."""

    name = "random vectors"

    def generate(self, task: Task, rng: np.random.Generator) -> list[str]:
        """See ``Generator``."""
        return [decode(vector) for vector in rng.uniform(-1.0, 1.0, size=(task.budget, len(PARAMETERS)))]
