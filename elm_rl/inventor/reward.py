"""The environment as a reward: programs are rolled out on their terrain, and the distance becomes a number to maximise.

`ProgramReward` is the core, and at the same time the plain function that TRL's GRPO and RLOO trainers take.
`TerrainReward` wraps it as the "reward model" that TRL's PPO trainer asks for. Both evaluate a batch in one call.

Distances on different terrains differ by an order of magnitude, so a policy that only sees metres neglects the hard
terrains. Rewards are therefore counted in standard deviations from the mean of the stage 2 model's samples on the same
terrain. These statistics are fixed before training: the reward means the same in the first update and in the last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase
from transformers.modeling_outputs import BaseModelOutput

from elm_rl.errors import ConfigError
from elm_rl.judging.rollouts import ProgramEvaluator, Scored
from elm_rl.models.conditioning.policy import TerrainPolicy
from elm_rl.models.tokenizer import decode_program

MIN_STD = 1.0
"""Smallest standard deviation a reward is divided by, in walker units: below it differences are noise, not skill."""


@dataclass(frozen=True)
class RewardScale:
    """How a distance on one terrain becomes a reward.

    Attributes:
        mean: Distance that earns 0, in walker units.
        std: Distance in walker units that earns 1 more.
        invalid: Reward of a program that makes no walker.
    """

    mean: float
    std: float
    invalid: float

    def reward(self, fitness: float, valid: bool) -> float:
        """The reward of one program."""
        return (fitness - self.mean) / self.std if valid else self.invalid


def reward_scales(samples: Mapping[str, Sequence[Scored]], invalid_penalty: float = 0.5) -> dict[str, RewardScale]:
    """Fixes the reward of every terrain from scored samples of the stage 2 model.

    Args:
        samples: Scored programs of each terrain. Mean and deviation are taken over the valid ones; with none of them
            the mean is 0, so that the first walker that moves is already a success.
        invalid_penalty: An invalid program earns this much less than a walker that stands still, so that breaking a
            program never pays.

    Raises:
        ConfigError: ``invalid_penalty`` is negative.
    """
    if invalid_penalty < 0:
        raise ConfigError(f"invalid_penalty is {invalid_penalty}; below 0, breaking a program would pay.")
    scales = {}
    for terrain, scored in samples.items():
        fitness = [s.fitness for s in scored if s.valid]
        mean = float(np.mean(fitness)) if fitness else 0.0
        std = max(float(np.std(fitness)) if fitness else 0.0, MIN_STD)
        scales[terrain] = RewardScale(mean, std, -mean / std - invalid_penalty)
    return scales


@dataclass(frozen=True)
class RewardBatch:
    """A scored batch, kept for metrics.

    Attributes:
        programs: Program texts.
        terrains: Terrain of each program.
        fitness: Distances in walker units, 0 where invalid; float64 (batch,).
        valid: Which programs made a walker; bool (batch,).
        rewards: What the trainer was told; float64 (batch,).
        finished: Which programs ended by themselves instead of being cut at the response length; bool (batch,).
    """

    programs: tuple[str, ...]
    terrains: tuple[str, ...]
    fitness: np.ndarray
    valid: np.ndarray
    rewards: np.ndarray
    finished: np.ndarray

    def per_terrain(self) -> dict[str, dict[str, float]]:
        """Figures of each terrain: mean and best distance, mean reward, share valid and finished, distinct programs."""
        figures = {}
        for terrain in sorted(set(self.terrains)):
            rows = [i for i, name in enumerate(self.terrains) if name == terrain]
            figures[terrain] = {
                "fitness": float(self.fitness[rows].mean()),
                "best": float(self.fitness[rows].max()),
                "reward": float(self.rewards[rows].mean()),
                "valid": float(self.valid[rows].mean()),
                "finished": float(self.finished[rows].mean()),
                "distinct": float(len({self.programs[i] for i in rows})),
            }
        return figures


class ProgramReward:
    """Programs and terrains in, rewards out.

    The object is itself a reward function of TRL's ``GRPOTrainer`` and ``RLOOTrainer``: called with ``prompts``,
    ``completions`` and the dataset column ``terrain`` it returns one float per completion.

    Args:
        evaluator: Scores a batch of programs, each on its own terrain.
        scales: How distances become rewards, for every terrain that will be asked for.

    Attributes:
        last: The batch scored last, or None before the first.
    """

    __name__ = "program_reward"  # TRL names the columns of its log after the function

    def __init__(self, evaluator: ProgramEvaluator, scales: Mapping[str, RewardScale]) -> None:
        self.evaluator = evaluator
        self.scales = dict(scales)
        self.last: RewardBatch | None = None

    def score(
        self, programs: Sequence[str], terrains: Sequence[str], finished: Sequence[bool] | None = None
    ) -> RewardBatch:
        """Evaluates programs, each on the terrain of the same position, in one call of the evaluator.

        Args:
            programs: Program texts.
            terrains: One terrain name per program.
            finished: Which programs ended by themselves; only recorded. All, when left out.

        Raises:
            ConfigError: The numbers of programs and terrains differ, or a terrain has no scale.
        """
        if len(programs) != len(terrains):
            raise ConfigError(f"Got {len(programs)} programs but {len(terrains)} terrains; give one terrain a program.")
        if unknown := set(terrains) - set(self.scales):
            raise ConfigError(
                f"There is no reward scale for terrain {min(unknown)!r}, only for {', '.join(self.scales)}; measure it "
                "with reward_scales first."
            )
        scored = self.evaluator.evaluate(list(programs), list(terrains))
        rewards = [self.scales[t].reward(s.fitness, s.valid) for t, s in zip(terrains, scored, strict=True)]
        self.last = RewardBatch(
            programs=tuple(programs),
            terrains=tuple(terrains),
            fitness=np.array([s.fitness if s.valid else 0.0 for s in scored], dtype=np.float64),
            valid=np.array([s.valid for s in scored], dtype=bool),
            rewards=np.array(rewards, dtype=np.float64),
            finished=np.ones(len(programs), dtype=bool) if finished is None else np.array(finished, dtype=bool),
        )
        return self.last

    def __call__(
        self, prompts: Sequence[str], completions: Sequence[str], terrain: Sequence[str], **columns: Any
    ) -> list[float]:
        """Rewards of completions, for trainers that take functions; ``prompts`` and other columns are not needed."""
        return [float(reward) for reward in self.score(completions, terrain).rewards]


class TerrainReward(nn.Module):
    """The reward model of TRL's PPO trainer: a module whose "backbone" reads ids, runs programs and returns rewards.

    TRL calls the module named by ``base_model_prefix`` with ids and an attention mask, passes its last hidden state
    (batch, length, 1) through ``score``, and reads the row at the last token of the response. Every position of a row
    holds the same reward here, so it does not matter which one is read.

    Args:
        core: Scores the programs.
        tokenizer: Turns ids into text.
        policy: The conditioned policy; it tells which ids are which terrain.
    """

    base_model_prefix = "backbone"

    def __init__(self, core: ProgramReward, tokenizer: PreTrainedTokenizerBase, policy: TerrainPolicy) -> None:
        super().__init__()
        self.backbone = _ProgramBackbone(core, tokenizer, policy)
        self.score = nn.Identity()

    @property
    def last(self) -> RewardBatch | None:
        """The batch scored last, or None before the first."""
        return self.backbone.core.last


class _ProgramBackbone(nn.Module):
    """Ids (batch, length) -> rewards as a hidden state (batch, length, 1)."""

    def __init__(self, core: ProgramReward, tokenizer: PreTrainedTokenizerBase, policy: TerrainPolicy) -> None:
        super().__init__()
        self.core = core
        self.tokenizer = tokenizer
        self._vocabulary, self._terrain_of = policy.config.vocab_size, policy.terrain_of

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **unused: Any) -> BaseModelOutput:
        # TRL overwrites padding with id 0, which may be a real token: only the mask tells them apart.
        rows = [ids[mask].tolist() for ids, mask in zip(input_ids.cpu(), attention_mask.bool().cpu(), strict=True)]
        words = [[i for i in row if i < self._vocabulary] for row in rows]
        batch = self.core.score(
            programs=[decode_program(self.tokenizer, row) for row in words],
            terrains=[self._terrain_of(row) for row in rows],
            # From the second token on: a model without a beginning token starts its texts with the end token.
            finished=[self.tokenizer.eos_token_id in row[1:] for row in words],
        )
        rewards = torch.tensor(batch.rewards, dtype=torch.float32, device=input_ids.device)
        hidden = rewards[:, None, None].expand(-1, input_ids.shape[1], 1)
        return BaseModelOutput(last_hidden_state=hidden, hidden_states=(hidden,))
