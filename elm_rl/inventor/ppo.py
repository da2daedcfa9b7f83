"""Stage 3 by TRL's PPO: a policy writes programs for terrains, and a critic says what was to be expected of each.

Lehman et al. 2022, section on conditional reinforcement learning: the reward is the distance walked on the terrain that the
program was asked for, less a KL term; the critic is told the terrain by an encoder of its own. Here the reward is the rank of
that distance among the programs for the same terrain, and the KL term is measured from the policy at the start.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from elm_rl.inventor.policy_run import PolicyResult
from elm_rl.inventor.policy_stage import Attempts, PolicyStageConfig, run_policy_stage
from elm_rl.inventor.trainer import Learner, PPOSettings, TerrainPPOTrainer, UpdateWatcher
from elm_rl.models.conditioning import TerrainPolicy, make_value_model, prompts_of

FINETUNING_FILE = "finetuning.json"


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(PolicyStageConfig, PPOSettings):
    """Settings of ``elm-rl finetune``."""

    out: Path = Path("runs/finetuned")
    """Folder for the policy, its metrics and its figures. A finished one with the same settings is reused, a stopped one is
    gone on with."""
    kl: float = 0.15
    """Weight of the divergence from the start, in nats a program, in the reward. In a trial 0.15 earned as much as 0.05 after
    ten updates (71 units from 65), with 1.2 times as many different walkers."""

    def __post_init__(self) -> None:
        PolicyStageConfig.__post_init__(self)
        PPOSettings.__post_init__(self)


def run_finetune(config: FinetuneConfig) -> PolicyResult:
    """Fine-tunes a policy and saves the best one met to ``config.out``, which ``from_pretrained`` loads.

    Beside the policy the folder holds ``metrics.jsonl``, ``tensorboard/`` and, at the end, ``finetuning.json``.

    Raises:
        ElmError: As `elm_rl.inventor.policy_stage.run_policy_stage` says.
    """

    def make(policy: TerrainPolicy) -> Learner:
        return Learner(config, policy, make_value_model(policy), reference=copy.deepcopy(policy))

    def train(attempts: Attempts, learner: Learner) -> None:
        policy, tokenizer, run = attempts.policy, attempts.tokenizer, attempts.run

        def score(rows: list[list[int]]) -> Sequence[float]:
            words = [[i for i in row if i < policy.config.vocab_size] for row in rows]
            # From the second token on: a model without a beginning token starts its texts with the end token.
            rewards: list[float] = attempts.score(
                [row[1:] for row in words], [policy.terrain_of(row) for row in rows]
            ).tolist()
            return rewards

        TerrainPPOTrainer(
            config,
            learner,
            tokenizer,
            config.out,
            prompts=lambda update: prompts_of(policy, tokenizer, attempts.terrains(update)),
            score=score,
            updates=range(run.update, config.updates),
            longest=config.room(policy),
            seed=config.seed,
            callback=UpdateWatcher(attempts.timed()),
        ).train()

    return run_policy_stage(config, make, train, name="PPO", file=FINETUNING_FILE, temperature=config.temperature)
