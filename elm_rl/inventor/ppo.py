"""Stage 3 by TRL's PPO: a policy writes programs for terrains, and a critic says what was to be expected of each.

Lehman et al. 2022, section on conditional reinforcement learning: the reward is the distance walked on the terrain that the
program was asked for, less a KL term; the critic is told the terrain by an encoder of its own. Here the reward is the rank of
that distance among the programs for the same terrain, and the KL term is measured from the policy at the start.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elm_rl.inventor.policy_run import PolicyResult, PolicyRun, finished_result
from elm_rl.inventor.policy_stage import PolicyStageConfig, prompts_of, terrains_of_update, watch_of
from elm_rl.inventor.rank_reward import RankReward
from elm_rl.inventor.trainer import Learner, PPOSettings, TerrainPPOTrainer, UpdateWatcher
from elm_rl.models.conditioning import make_value_model
from elm_rl.models.language_model import load_policy, weights_digest
from elm_rl.models.tokenizer import decode_program
from elm_rl.runs.processes import done_once
from sodarace_gym.evaluation import Evaluator

FINETUNING_FILE = "finetuning.json"


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(PolicyStageConfig, PPOSettings):
    """Settings of ``elm-rl finetune``."""

    def __post_init__(self) -> None:
        PolicyStageConfig.__post_init__(self)
        PPOSettings.__post_init__(self)


def run_finetune(config: FinetuneConfig) -> PolicyResult:
    """Fine-tunes a policy and saves the best one met to ``config.out``, which ``from_pretrained`` loads.

    Beside the policy the folder holds ``metrics.jsonl``, ``tensorboard/`` and, at the end, ``finetuning.json``.

    Raises:
        ElmError: A folder is missing or damaged, settings and policy do not fit, the disk is full, another process writes to
            ``out``, or that holds a run with other settings.
    """
    settings = config.compared() | {"start_weights": weights_digest(config.start)}

    def work() -> PolicyResult:
        policy, tokenizer = load_policy(config.start)
        reference = copy.deepcopy(policy)
        learner = Learner(config, policy, make_value_model(policy))
        with Evaluator(n_jobs=config.n_jobs, duration=config.duration) as evaluator:
            reward = RankReward(evaluator, config.robustness)
            run = PolicyRun(
                config.out,
                settings,
                policy,
                tokenizer,
                watch_of(config, policy, tokenizer, evaluator, config.temperature),
                updates=config.updates,
                name="PPO",
                state=learner.state,
                restore=learner.restore,
                progress=config.progress,
            )

            def prompts(update: int) -> list[list[int]]:
                texts = terrains_of_update(config, policy, np.random.default_rng([config.seed, update]))
                return prompts_of(policy, tokenizer, texts)

            def score(rows: list[list[int]]) -> Sequence[float]:
                begun = time.monotonic()
                words = [[i for i in row if i < policy.config.vocab_size] for row in rows]
                # From the second token on: a model without a beginning token starts its texts with the end token.
                ended = [tokenizer.eos_token_id in row[1:] for row in words]
                programs = [decode_program(tokenizer, row) for row in words]
                rewarded = reward.score(programs, [policy.terrain_of(row) for row in rows], ended)
                run.evaluations += len(programs)
                run.tokens += sum(len(row) - 1 for row in words)
                run.spend("evaluate", begun)
                return rewarded.rewards.tolist()

            begun = time.monotonic()

            def finished(figures: dict[str, float]) -> bool:
                nonlocal begun
                run.spend("update", begun)  # with what of it was spent to evaluate
                assert reward.last is not None
                run.finish_update({**figures, **reward.last.figures()})
                begun = time.monotonic()
                return run.stopped is None

            with run:
                if run.stopped is None:
                    begun = time.monotonic()
                    TerrainPPOTrainer(
                        config,
                        learner,
                        reference,
                        tokenizer,
                        config.out,
                        prompts=prompts,
                        score=score,
                        updates=range(run.update, config.updates),
                        longest=config.room(policy),
                        seed=config.seed,
                        callback=UpdateWatcher(finished),
                    ).train()
                return run.finish(FINETUNING_FILE)

    return done_once(config.out, lambda: finished_result(config.out, FINETUNING_FILE, settings), work)
