"""Which policy of a training run is kept: the one whose samples go furthest on terrains that are looked at again and again.

A mean reward over a training batch is no judge: every batch has other terrains, and one good walker for all of them raises it
too. So the policy is now and then asked for the same terrains, with the same random numbers, and the least distance of each
walker and its perturbed copies counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from elm_rl.errors import ConfigError
from elm_rl.judging.terrain_scores import Known, TerrainScore, mean_scores, score_terrains
from elm_rl.models.conditioning import TerrainPolicy, prompts_of
from elm_rl.models.sampling import sample_answers
from elm_rl.models.tokenizer import decode_program
from sodarace_gym.evaluation import Evaluator
from sodarace_gym.terrains.distribution import TerrainDistribution

_NOTHING = Known(frozenset(), frozenset())


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """When a policy is looked at, and which one is kept."""

    evaluate_every: int = 5
    """Updates between two looks."""
    evaluation_terrains: int = 24
    """Terrains of the validation split that a policy is asked for; one of codes is asked for all that it knows, and where
    terrains are named (only) it is these."""
    evaluation_samples: int = 192
    """Programs of a look, spread over these terrains."""
    least_designs: float = 0.25
    """Share of the samples of a terrain that must be different walkers, on each of them where they are always the same: below
    it, a policy that had more has collapsed. It is not kept, and the training ends."""
    patience: int = 4
    """Looks without a better policy before the training ends; 0 to go on regardless."""

    def __post_init__(self) -> None:
        for name in ("evaluate_every", "evaluation_terrains", "evaluation_samples"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        if not 0 <= self.least_designs <= 1:
            raise ConfigError(f"least_designs is {self.least_designs}; expected a share from 0 to 1.")
        if self.patience < 0:
            raise ConfigError(f"patience is {self.patience}; expected 0 or more.")


@dataclass(frozen=True)
class Standing:
    """How a policy did when it was looked at, means over the terrains.

    Attributes:
        update: After which update; 0 is the start.
        mean: Mean of the least distances, walker units; what is no walker counts 0.
        plain: Mean of the distances as simulated.
        valid: Share that made a walker.
        designs: Share of different walkers among the samples of a terrain. Where the terrains are always the same, and
            each has many samples, on the terrain that has the fewest.
    """

    update: int
    mean: float
    plain: float
    valid: float
    designs: float


class PolicyWatch:
    """Looks at a policy, and remembers the best standing.

    Args:
        policy: The policy in training.
        tokenizer: Its tokenizer.
        evaluator: Rolls out.
        settings: When to look, and what to keep.
        drawn_from: What the terrains are drawn from where none are fixed.
        fixed: The terrains, by the texts that name them.
        longest: Tokens at which a program is cut.
        robustness: Perturbed copies of each walker.
        temperature: At which samples are drawn.
        seed: Seed of terrains and samples.

    Attributes:
        settings: When to look, and what to keep.
        texts: The terrains, by the texts that name them.
        start: The standing before the first update; None before it was taken.
        best: The best standing so far.
        last: The standing taken last.
        stale: Looks since then.
    """

    def __init__(
        self,
        policy: TerrainPolicy,
        tokenizer: PreTrainedTokenizerBase,
        evaluator: Evaluator,
        settings: WatchSettings,
        drawn_from: TerrainDistribution,
        *,
        fixed: Sequence[str] = (),
        longest: int,
        robustness: int,
        temperature: float = 1.0,
        seed: int = 0,
    ) -> None:
        self._policy, self._tokenizer, self._evaluator = policy, tokenizer, evaluator
        self.settings = settings
        self._longest, self._temperature = longest, temperature
        self._robustness = robustness
        self._seed = seed
        self._fixed = bool(fixed)
        drawn = () if fixed else draw_texts(drawn_from, settings.evaluation_terrains, np.random.default_rng([seed, 4]))
        self.texts = list(fixed or drawn)
        self.start: Standing | None = None
        self.best: Standing | None = None
        self.last = Standing(0, 0.0, 0.0, 0.0, 0.0)
        self.stale = 0

    def look(self, update: int) -> bool:
        """Takes a standing.

        Returns:
            Whether it is the best, and the policy is to be kept.
        """
        found = self._measure(update)
        self.last = found
        if self.start is None or self.best is None:
            self.start = self.best = found
            return True
        better = found.mean > self.best.mean and not self.collapsed
        self.stale = 0 if better else self.stale + 1
        if better:
            self.best = found
        return better

    @property
    def samples(self) -> int:
        """Programs of a look."""
        return len(self.texts) * max(1, self.settings.evaluation_samples // len(self.texts))

    @property
    def collapsed(self) -> bool:
        """Whether the last standing has too few different walkers, and the start had more."""
        assert self.start is not None
        return self.last.designs < min(self.settings.least_designs, self.start.designs)

    @property
    def patient(self) -> bool:
        """Whether a better policy may still be waited for."""
        return not 0 < self.settings.patience <= self.stale

    def state(self) -> dict[str, Any]:
        """What a checkpoint has to keep."""
        assert self.start is not None and self.best is not None
        return {"start": asdict(self.start), "best": asdict(self.best), "last": asdict(self.last), "stale": self.stale}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back what a checkpoint kept."""
        self.start, self.best, self.last = (Standing(**state[name]) for name in ("start", "best", "last"))
        self.stale = state["stale"]

    def _measure(self, update: int) -> Standing:
        each = self.samples // len(self.texts)
        prompts = prompts_of(self._policy, self._tokenizer, [text for text in self.texts for _ in range(each)])
        answers = sample_answers(
            self._policy,
            self._tokenizer,
            prompts,
            max_new_tokens=self._longest,
            temperature=self._temperature,
            seed=self._seed,
        )
        # What was cut counts as none, as in the reward.
        programs = [decode_program(self._tokenizer, answer.ids) if answer.ended else "" for answer in answers]
        by_terrain = {text: programs[row * each : (row + 1) * each] for row, text in enumerate(self.texts)}
        scores: dict[str, TerrainScore] = score_terrains(by_terrain, self._evaluator, _NOTHING, self._robustness)
        mean = mean_scores(scores)
        designs = min(score.designs for score in scores.values()) if self._fixed else mean["designs"]
        return Standing(update, mean["mean"], mean["plain"], mean["valid"], designs / each)


def draw_texts(distribution: TerrainDistribution, count: int, rng: np.random.Generator) -> list[str]:
    """So many different terrains, by the texts that name them."""
    texts: dict[str, None] = {}
    while len(texts) < count:
        texts[distribution.draw(rng).text] = None
    return list(texts)
