"""What all stages have in common that start from a policy and reward what it writes: settings, terrains, prompts, rewards."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from elm_rl.corpus.drawn_terrains import DrawnTerrains
from elm_rl.corpus.known_walkers import known_designs
from elm_rl.errors import ConfigError
from elm_rl.inventor.builtin import BUILTIN_POLICY
from elm_rl.inventor.policy_run import PolicyResult, PolicyRun, finished_result
from elm_rl.inventor.policy_watch import PolicyWatch, WatchSettings, draw_texts
from elm_rl.inventor.rank_reward import RankReward
from elm_rl.models.conditioning import TerrainPolicy
from elm_rl.models.language_model import load_policy, weights_digest
from elm_rl.models.sampling import context_length
from elm_rl.models.tokenizer import decode_program
from elm_rl.runs.path_settings import take_paths
from elm_rl.runs.processes import done_once
from elm_rl.runs.setting_checks import check_threads, named_terrain
from sodarace_gym.evaluation import Evaluator

# A run directory may move, and neither of the others changes what is learnt.
_NOT_COMPARED = ("start", "out", "known", "n_jobs", "progress")


@dataclass(frozen=True, kw_only=True)
class PolicyStageConfig(WatchSettings, DrawnTerrains):
    """Settings that these stages share."""

    start: Path | None = None
    """Folder of the policy to start from, such as 'elm-rl supervised' has written; left out, the built-in one. What is learnt
    is kept near it."""
    out: Path
    """Folder for the policy, its metrics and its figures. A finished one with the same settings is reused, a stopped one is
    gone on with."""
    updates: int = 30
    """Updates, unless there is no better policy for long."""
    terrains: int = 8
    """Terrains of an update, drawn anew each time; a policy of codes is asked for all that it knows."""
    only: tuple[str, ...] = ()
    """Terrains, as in LeftWall or Hills,difficulty=0.5,seed=3, for which every update writes and by which the best policy is
    chosen, instead of drawn ones or of all that a policy of codes knows."""
    samples: int = 16
    """Programs for each of them, which are ranked among each other."""
    longest: int = 256
    """Tokens at which a program is cut, and counts as none."""
    robustness: int = 2
    """Copies of each walker, with joints off by thousandths, that are rolled out too; the least distance counts."""
    known: tuple[Path, ...] = ()
    """Folders of cross tables, siblings and corpora with what the policy was shown; see novelty."""
    novelty: float = 0.0
    """What part of its reward a program does not get whose walker is known: 0 to 1. The policy then learns from those of its
    walkers that are new."""
    duration: float = 10.0
    """Simulated seconds a walker is scored for."""
    seed: int = 0
    """Seed of every random choice."""
    n_jobs: int = -1
    """Threads that evaluate; -1 for one a core."""
    progress: bool = True
    """Show a progress bar."""

    def __post_init__(self) -> None:
        take_paths(self)
        WatchSettings.__post_init__(self)
        DrawnTerrains.__post_init__(self)
        for name, low in (
            ("updates", 1),
            ("terrains", 1),
            ("samples", 2),
            ("longest", 1),
            ("robustness", 0),
            ("seed", 0),
        ):
            if getattr(self, name) < low:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} or more.")
        if not 0 <= self.novelty <= 1:
            raise ConfigError(f"novelty is {self.novelty}; expected a part from 0 to 1.")
        if (self.novelty > 0) != bool(self.known):
            raise ConfigError(
                "novelty needs known, which says what walkers the policy was shown, and known needs novelty."
            )
        check_threads(self.n_jobs)
        if not 0 < self.duration < float("inf"):
            raise ConfigError(f"duration is {self.duration}; expected more than 0 simulated seconds.")
        for text in self.only:
            named_terrain(text)
        if len(set(self.only)) < len(self.only):
            raise ConfigError(f"only names a terrain twice ({', '.join(self.only)}); expected each once.")

    def compared(self) -> dict[str, Any]:
        """The settings that decide what is learnt."""
        settings = {name: value for name, value in asdict(self).items() if name not in _NOT_COMPARED}
        if not self.only:  # a setting that older runs did not have
            del settings["only"]
        return settings

    def fixed(self, policy: TerrainPolicy) -> list[str]:
        """The terrains of all updates; none where they are drawn.

        Raises:
            ConfigError: The policy knows its terrains by codes, and has none for one of them.
        """
        known = policy.config.terrain_texts
        if known and (unknown := [text for text in self.only if text not in known]):
            raise ConfigError(f"The policy has no code for {unknown[0]}; it knows {', '.join(known)}.")
        return list(self.only) or known

    def room(self, policy: TerrainPolicy) -> int:
        """Tokens at which a program of a policy is cut."""
        return min(self.longest, context_length(policy) - policy.config.prompt_length - 1)


def _digest(designs: frozenset[bytes]) -> str | int:
    """What tells known walkers apart; 0 for none."""
    return blake2b(b"".join(sorted(designs)), digest_size=8).hexdigest() if designs else 0


class Steps(Protocol):
    """What takes the steps of a training: an optimiser and whatever else has a state beside the policy."""

    def state(self) -> dict[str, Any]:
        """Its state, for a checkpoint."""

    def restore(self, state: dict[str, Any]) -> None:
        """Takes it back."""


StepsT = TypeVar("StepsT", bound=Steps)


@dataclass
class Attempts:
    """A policy in training with what it takes to reward it and to keep the books.

    Attributes:
        config: Settings of the stage.
        policy: The policy.
        tokenizer: Its tokenizer.
        reward: Ranks what it writes.
        run: Keeps the books.
    """

    config: PolicyStageConfig
    policy: TerrainPolicy
    tokenizer: PreTrainedTokenizerBase
    reward: RankReward
    run: PolicyRun

    def terrains(self, update: int) -> list[str]:
        """For each program of an update, the text that names its terrain; programs of one terrain stand together."""
        rng = np.random.default_rng([self.config.seed, update])
        texts = self.config.fixed(self.policy) or draw_texts(self.config.distribution(), self.config.terrains, rng)
        return [text for text in texts for _ in range(self.config.samples)]

    def score(self, answers: Sequence[Sequence[int]], texts: Sequence[str]) -> NDArray[np.float64]:
        """Rewards of answers as token ids, without their prompts and with the end token where they were not cut."""
        begun = time.monotonic()
        end = self.tokenizer.eos_token_id
        programs = [decode_program(self.tokenizer, ids) for ids in answers]
        rewarded = self.reward.score(programs, texts, [end in ids for ids in answers])
        self.run.evaluations += len(programs)
        self.run.tokens += sum(map(len, answers))
        self.run.spend("evaluate", begun)
        return rewarded.rewards

    def timed(self) -> Callable[[Mapping[str, float]], bool]:
        """`finish_update` for trainers that do the rest by themselves, with the time that they take, evaluations aside."""
        begun, evaluated = time.monotonic(), self.run.seconds.get("evaluate", 0.0)

        def finished(figures: Mapping[str, float]) -> bool:
            nonlocal begun, evaluated
            # As if it had begun later by what was spent to evaluate.
            self.run.spend("update", begun + self.run.seconds.get("evaluate", 0.0) - evaluated)
            more = self.finish_update(figures)
            begun, evaluated = time.monotonic(), self.run.seconds.get("evaluate", 0.0)
            return more

        return finished

    def finish_update(self, figures: Mapping[str, float]) -> bool:
        """Enters an update with its figures; says whether to go on."""
        assert self.reward.last is not None
        self.run.finish_update({**figures, **self.reward.last.figures()})
        return self.run.stopped is None


def run_policy_stage(
    config: PolicyStageConfig,
    make: Callable[[TerrainPolicy], StepsT],
    train: Callable[[Attempts, StepsT], None],
    *,
    name: str,
    file: str,
    temperature: float,
) -> PolicyResult:
    """Trains a policy and saves the best one met to ``config.out``, unless that was done before.

    Args:
        config: Settings of the stage.
        make: Makes what takes the steps.
        train: Takes them, from ``attempts.run.update`` on, until ``attempts.finish_update`` says no.
        name: What figures and the progress bar are named after.
        file: Where settings and figures go at the end.
        temperature: At which the policy is looked at.

    Raises:
        ElmError: A folder is missing or damaged, settings and policy do not fit, the disk is full, another process writes to
            ``out``, or that holds a run with other settings.
    """
    start = config.start or BUILTIN_POLICY
    known = known_designs(config.known)
    settings = config.compared() | {"start_weights": weights_digest(start), "known_walkers": _digest(known)}

    def work() -> PolicyResult:
        policy, tokenizer = load_policy(start)
        config.fixed(policy)  # says what is wrong with them before anything is written
        steps = make(policy)
        with Evaluator(n_jobs=config.n_jobs, duration=config.duration) as evaluator:
            watch = PolicyWatch(
                policy,
                tokenizer,
                evaluator,
                config,
                config.distribution("validation"),
                fixed=config.fixed(policy),
                longest=config.room(policy),
                robustness=config.robustness,
                temperature=temperature,
                seed=config.seed,
            )
            with PolicyRun(
                config.out,
                settings,
                policy,
                tokenizer,
                watch,
                updates=config.updates,
                name=name,
                state=steps.state,
                restore=steps.restore,
                progress=config.progress,
            ) as run:
                if run.stopped is None:
                    reward = RankReward(evaluator, config.robustness, known, config.novelty)
                    train(Attempts(config, policy, tokenizer, reward, run), steps)
                return run.finish(file)

    return done_once(config.out, lambda: finished_result(config.out, file, settings), work)
