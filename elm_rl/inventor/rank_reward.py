"""The environment as a reward: programs are rolled out on the terrains they were written for, and ranked among their siblings.

What counts is the least distance of a walker and its perturbed copies, so that luck earns nothing. Distances on different
terrains differ by an order of magnitude: a policy that sees walker units neglects the hard ones. Ranks within a terrain know
no units, and their mean is zero on every terrain, which is the baseline that a policy gradient wants; what copies share and
what known walkers are refused comes off that. A policy that is to invent, and not only to remember, earns less for walkers that
it was shown.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from elm_rl.errors import ConfigError
from sodarace_gym.evaluation import Evaluation, Evaluator
from sodarace_gym.physics.robustness import design_digest
from sodarace_gym.terrains.texts import terrain_from_text

NO_WALKER = -1.0
"""Score of a program that makes no walker, or was cut: below that of one that stands still."""


@dataclass(frozen=True)
class RewardedPrograms:
    """A scored batch.

    Attributes:
        rewards: From -1 to 1, float64 (programs,).
        scores: Least distances in walker units, `NO_WALKER` where there is no walker, float64 (programs,).
        valid: Share of the programs that made a walker.
        designs: Share of different walkers among the programs of a terrain, mean over the terrains.
        known: Share of the programs whose walker is known; 0 where none are.
    """

    rewards: NDArray[np.float64]
    scores: NDArray[np.float64]
    valid: float
    designs: float
    known: float

    def figures(self) -> dict[str, float]:
        """What is logged of it; what is no walker counts 0 in the mean distance."""
        return {
            "distance": float(self.scores.clip(min=0.0).mean()),
            "best": float(self.scores.max(initial=0.0)),
            "valid": self.valid,
            "designs": self.designs,
            "known": self.known,
        }


class RankReward:
    """Programs and terrains in, rewards out.

    Args:
        evaluator: Rolls out.
        robustness: Perturbed copies of each walker.
        known: Walkers that the policy was shown, by their digests.
        novelty: What part of a reward above 0 these do not get.

    Attributes:
        last: The batch scored last, or None before the first.
        evaluations: Programs rolled out so far.
    """

    def __init__(
        self, evaluator: Evaluator, robustness: int, known: Collection[bytes] = frozenset(), novelty: float = 0.0
    ) -> None:
        self._evaluator = evaluator
        self._robustness = robustness
        self._known = frozenset(known)
        self._novelty = novelty
        self.last: RewardedPrograms | None = None
        self.evaluations = 0

    def score(
        self, programs: Sequence[str], terrains: Sequence[str], ended: Sequence[bool] | None = None
    ) -> RewardedPrograms:
        """Rolls programs out, all in one call of the evaluator, and ranks those of each terrain.

        Args:
            programs: Program texts.
            terrains: For each, the text that names its terrain.
            ended: Which were not cut; all, when left out.

        Raises:
            ConfigError: The numbers of programs and terrains differ.
        """
        if len(programs) != len(terrains):
            raise ConfigError(f"Got {len(programs)} programs but {len(terrains)} terrains; give one terrain a program.")
        made = {text: terrain_from_text(text) for text in dict.fromkeys(terrains)}
        found = self._evaluator.evaluate(list(programs), [made[text] for text in terrains], robustness=self._robustness)
        self.evaluations += len(programs)
        whole = [True] * len(programs) if ended is None else ended
        scores = np.array([_worth(each) if done else NO_WALKER for each, done in zip(found, whole, strict=True)])
        designs = [None if each.design is None else design_digest(each.design) for each in found]
        rewards = np.zeros(len(programs))
        shares = []
        for text in made:
            rows = [row for row, name in enumerate(terrains) if name == text]
            walkers = [designs[row] for row in rows]
            rewards[rows] = rank_advantages(scores[rows], walkers)
            remembered = np.array([walker in self._known for walker in walkers]) & (rewards[rows] > 0)
            rewards[rows] *= 1.0 - self._novelty * remembered
            shares.append(len({walker for walker in walkers if walker is not None}) / len(rows))
        valid = float(np.mean([each.valid for each in found])) if found else 0.0
        met = float(np.mean([design in self._known for design in designs])) if designs else 0.0
        self.last = RewardedPrograms(rewards, scores, valid, float(np.mean(shares)) if shares else 0.0, met)
        return self.last


def rank_advantages(scores: NDArray[np.floating], designs: Sequence[bytes | None]) -> NDArray[np.float64]:
    """Advantages of the programs of one terrain by their rank: from -1 for the worst to 1 for the best, equal ones alike.

    What the same walker earns more than once is shared among its copies: else the way to the most reward is to write one walker
    again and again.

    Args:
        scores: What each program earned, (programs,).
        designs: What tells walkers apart; None for a program that builds none.
    """
    found: NDArray[np.float64] = 2.0 * (rankdata(scores) - 1.0) / max(1, len(scores) - 1) - 1.0
    if len(scores) == 1:
        found[:] = 0.0
    shared = np.array([1.0 if walker is None else designs.count(walker) for walker in designs])
    return np.where(found > 0, found / shared, found)


def _worth(evaluation: Evaluation) -> float:
    if not evaluation.valid:
        return NO_WALKER
    return evaluation.fitness if evaluation.robust_fitness is None else evaluation.robust_fitness
