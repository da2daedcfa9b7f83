"""Stage 3 by TRL's GRPO or RLOO: like PPO, and without a critic."""

from __future__ import annotations

from dataclasses import dataclass

from elm_rl.inventor.group_trainers import GroupSettings, PolicyOptimizer, train_group
from elm_rl.inventor.policy_run import PolicyResult
from elm_rl.inventor.policy_stage import Attempts, PolicyStageConfig, run_policy_stage

GROUP_FILE = "group.json"


@dataclass(frozen=True, kw_only=True)
class GroupConfig(PolicyStageConfig, GroupSettings):
    """Settings of ``elm-rl group``."""

    def __post_init__(self) -> None:
        PolicyStageConfig.__post_init__(self)
        GroupSettings.__post_init__(self)


def run_group(config: GroupConfig) -> PolicyResult:
    """Trains a policy and saves the best one met to ``config.out``.

    Beside the policy the folder holds ``metrics.jsonl``, ``tensorboard/`` and, at the end, ``group.json``.

    Raises:
        ElmError: As `elm_rl.inventor.policy_stage.run_policy_stage` says.
    """

    def train(attempts: Attempts, learner: PolicyOptimizer) -> None:
        train_group(
            config,
            learner,
            attempts.tokenizer,
            config.out,
            terrains=lambda update: attempts.terrains(update)[:: config.samples],
            score=lambda rows, texts: attempts.score(rows, texts).tolist(),
            finished=attempts.timed(),
            updates=range(attempts.run.update, config.updates),
            samples=config.samples,
            longest=config.room(attempts.policy),
            seed=config.seed,
        )

    return run_policy_stage(
        config,
        lambda policy: PolicyOptimizer(policy, config.learning_rate),
        train,
        name=config.algorithm.upper(),
        file=GROUP_FILE,
        temperature=config.temperature,
    )
