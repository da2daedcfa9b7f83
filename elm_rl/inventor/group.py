"""Stage 3 by TRL's GRPO or RLOO: like PPO, and without a critic."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from elm_rl.inventor.group_trainers import GroupSettings, PolicyOptimizer, train_group
from elm_rl.inventor.policy_run import PolicyResult, PolicyRun, finished_result
from elm_rl.inventor.policy_stage import PolicyStageConfig, terrains_of_update, watch_of
from elm_rl.inventor.rank_reward import RankReward
from elm_rl.models.language_model import load_policy, weights_digest
from elm_rl.models.tokenizer import decode_program
from elm_rl.runs.processes import done_once
from sodarace_gym.evaluation import Evaluator

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
        ElmError: A folder is missing or damaged, settings and policy do not fit, the disk is full, another process writes to
            ``out``, or that holds a run with other settings.
    """
    settings = config.compared() | {"start_weights": weights_digest(config.start)}

    def work() -> PolicyResult:
        policy, tokenizer = load_policy(config.start)
        learner = PolicyOptimizer(policy, config.learning_rate)
        with Evaluator(n_jobs=config.n_jobs, duration=config.duration) as evaluator:
            reward = RankReward(evaluator, config.robustness)
            run = PolicyRun(
                config.out,
                settings,
                policy,
                tokenizer,
                watch_of(config, policy, tokenizer, evaluator, config.temperature),
                updates=config.updates,
                name=config.algorithm.upper(),
                state=learner.state,
                restore=learner.restore,
                progress=config.progress,
            )

            def terrains(update: int) -> list[str]:
                drawn = terrains_of_update(config, policy, np.random.default_rng([config.seed, update]))
                return drawn[:: config.samples]

            def score(rows: Sequence[Sequence[int]], texts: Sequence[str]) -> Sequence[float]:
                begun = time.monotonic()
                programs = [decode_program(tokenizer, ids) for ids in rows]
                rewarded = reward.score(programs, texts, [tokenizer.eos_token_id in ids for ids in rows])
                run.evaluations += len(programs)
                run.tokens += sum(map(len, rows))
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
                    train_group(
                        config,
                        learner,
                        tokenizer,
                        config.out,
                        terrains=terrains,
                        score=score,
                        finished=finished,
                        updates=range(run.update, config.updates),
                        samples=config.samples,
                        longest=config.room(policy),
                        seed=config.seed,
                    )
                return run.finish(GROUP_FILE)

    return done_once(config.out, lambda: finished_result(config.out, GROUP_FILE, settings), work)
