"""Stage 3 by policy gradient: a policy writes programs for terrains, and those that walk further than their siblings gain."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np

from elm_rl.inventor.policy_run import PolicyResult
from elm_rl.inventor.policy_stage import Attempts, PolicyStageConfig, run_policy_stage
from elm_rl.inventor.policy_update import PolicyUpdate, UpdateSettings, WrittenPrograms
from elm_rl.models.conditioning import prompts_of
from elm_rl.models.sampling import sample_answers

RANK_GRADIENT_FILE = "rank_gradient.json"


@dataclass(frozen=True, kw_only=True)
class RankGradientConfig(PolicyStageConfig, UpdateSettings):
    """Settings of ``elm-rl rank-gradient``."""

    def __post_init__(self) -> None:
        PolicyStageConfig.__post_init__(self)
        UpdateSettings.__post_init__(self)


def run_rank_gradient(config: RankGradientConfig) -> PolicyResult:
    """Trains a policy and saves the best one met to ``config.out``.

    Beside the policy the folder holds ``metrics.jsonl``, ``tensorboard/`` and, at the end, ``rank_gradient.json``.

    Raises:
        ElmError: As `elm_rl.inventor.policy_stage.run_policy_stage` says.
    """

    def train(attempts: Attempts, learner: PolicyUpdate) -> None:
        while attempts.finish_update(_learn(config, attempts, learner)):
            pass

    return run_policy_stage(
        config,
        lambda policy: PolicyUpdate(policy, copy.deepcopy(policy), config),
        train,
        name="rank gradient",
        file=RANK_GRADIENT_FILE,
        temperature=config.temperature,
    )


def _learn(config: RankGradientConfig, attempts: Attempts, learner: PolicyUpdate) -> dict[str, float]:
    """One update; what is random in it depends on its number alone."""
    policy, tokenizer, run = attempts.policy, attempts.tokenizer, attempts.run
    rng = np.random.default_rng([config.seed, run.update, 1])
    texts = attempts.terrains(run.update)
    prompts = prompts_of(policy, tokenizer, texts)
    begun = time.monotonic()
    written = sample_answers(
        policy,
        tokenizer,
        prompts,
        max_new_tokens=config.room(policy),
        temperature=config.temperature,
        seed=int(rng.integers(1 << 31)),
    )
    run.spend("write", begun)
    end = [int(tokenizer.eos_token_id or 0)]
    answers = [[*answer.ids, *(end if answer.ended else [])] for answer in written]
    rewards = attempts.score(answers, texts)
    begun = time.monotonic()
    figures = learner.step(WrittenPrograms.of(prompts, answers), rewards, seed=int(rng.integers(1 << 31)))
    run.spend("learn", begun)
    return figures
