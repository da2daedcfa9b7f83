"""Stage 3 by policy gradient: a policy writes programs for terrains, and those that walk further than their siblings gain."""

from __future__ import annotations

import copy
import time
from dataclasses import dataclass

import numpy as np
from transformers import PreTrainedTokenizerBase

from elm_rl.inventor.policy_run import PolicyResult, PolicyRun, finished_result
from elm_rl.inventor.policy_stage import PolicyStageConfig, prompts_of, terrains_of_update, watch_of
from elm_rl.inventor.policy_update import PolicyUpdate, UpdateSettings, WrittenPrograms
from elm_rl.inventor.rank_reward import RankReward
from elm_rl.models.conditioning import TerrainPolicy
from elm_rl.models.language_model import load_policy, weights_digest
from elm_rl.models.sampling import sample_answers
from elm_rl.models.tokenizer import decode_program
from elm_rl.runs.processes import done_once
from sodarace_gym.evaluation import Evaluator

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
        ElmError: A folder is missing or damaged, the disk is full, another process writes to ``out``, or that holds a run with
            other settings.
    """
    settings = config.compared() | {"start_weights": weights_digest(config.start)}

    def work() -> PolicyResult:
        policy, tokenizer = load_policy(config.start)
        learner = PolicyUpdate(policy, copy.deepcopy(policy), config)
        with Evaluator(n_jobs=config.n_jobs, duration=config.duration) as evaluator:
            reward = RankReward(evaluator, config.robustness)
            with PolicyRun(
                config.out,
                settings,
                policy,
                tokenizer,
                watch_of(config, policy, tokenizer, evaluator, config.temperature),
                updates=config.updates,
                name="rank gradient",
                state=learner.state,
                restore=learner.restore,
                progress=config.progress,
            ) as run:
                while run.stopped is None:
                    run.finish_update(_learn(config, policy, tokenizer, learner, reward, run))
                return run.finish(RANK_GRADIENT_FILE)

    return done_once(config.out, lambda: finished_result(config.out, RANK_GRADIENT_FILE, settings), work)


def _learn(
    config: RankGradientConfig,
    policy: TerrainPolicy,
    tokenizer: PreTrainedTokenizerBase,
    learner: PolicyUpdate,
    reward: RankReward,
    run: PolicyRun,
) -> dict[str, float]:
    """One update; what is random in it depends on its number alone."""
    rng = np.random.default_rng([config.seed, run.update])
    texts = terrains_of_update(config, policy, rng)
    begun = time.monotonic()
    prompts = prompts_of(policy, tokenizer, texts)
    written = sample_answers(
        policy,
        tokenizer,
        prompts,
        max_new_tokens=config.room(policy),
        temperature=config.temperature,
        seed=int(rng.integers(1 << 31)),
    )
    begun = run.spend("write", begun)
    programs = [decode_program(tokenizer, answer.ids) for answer in written]
    rewarded = reward.score(programs, texts, [answer.ended for answer in written])
    begun = run.spend("evaluate", begun)
    end = [int(tokenizer.eos_token_id or 0)]
    batch = WrittenPrograms.of(prompts, [[*answer.ids, *(end if answer.ended else [])] for answer in written])
    figures = learner.step(batch, rewarded.rewards, seed=int(rng.integers(1 << 31)))
    run.spend("learn", begun)
    run.evaluations += len(programs)
    run.tokens += int(batch.learnt.sum())
    return {**figures, **rewarded.figures()}
