"""What all stages have in common that start from a policy and reward what it writes: settings, terrains and prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from transformers import PreTrainedTokenizerBase

from elm_rl.corpus.drawn_terrains import DrawnTerrains
from elm_rl.errors import ConfigError
from elm_rl.inventor.policy_watch import PolicyWatch, WatchSettings, draw_texts, known_terrains
from elm_rl.models.conditioning import TerrainPolicy
from elm_rl.models.sampling import context_length
from elm_rl.models.tokenizer import start_id
from elm_rl.runs.path_settings import take_paths
from sodarace_gym.evaluation import Evaluator

# A run directory may move, and neither of the others changes what is learnt.
_NOT_COMPARED = ("start", "out", "n_jobs", "progress")


@dataclass(frozen=True, kw_only=True)
class PolicyStageConfig(WatchSettings, DrawnTerrains):
    """Settings that these stages share."""

    start: Path
    """Folder of the policy to start from, such as 'elm-rl supervised' has written. What is learnt is kept near it."""
    out: Path
    """Folder for the policy, its metrics and its figures. A finished one with the same settings is reused, a stopped one is
    gone on with."""
    updates: int = 30
    """Updates, unless there is no better policy for long."""
    terrains: int = 8
    """Terrains of an update, drawn anew each time; a policy of codes is asked for all that it knows."""
    samples: int = 16
    """Programs for each of them, which are ranked among each other."""
    longest: int = 256
    """Tokens at which a program is cut, and counts as none."""
    robustness: int = 2
    """Copies of each walker, with joints off by thousandths, that are rolled out too; the least distance counts."""
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
        if not 0 < self.duration < float("inf"):
            raise ConfigError(f"duration is {self.duration}; expected more than 0 simulated seconds.")

    def compared(self) -> dict[str, Any]:
        """The settings that decide what is learnt."""
        return {name: value for name, value in asdict(self).items() if name not in _NOT_COMPARED}

    def room(self, policy: TerrainPolicy) -> int:
        """Tokens at which a program of a policy is cut."""
        return min(self.longest, context_length(policy) - policy.config.prefix_length - 1)


def terrains_of_update(config: PolicyStageConfig, policy: TerrainPolicy, rng: np.random.Generator) -> list[str]:
    """For each program of an update, the text that names its terrain; programs of one terrain stand together."""
    texts = known_terrains(policy) or draw_texts(config.distribution(), config.terrains, rng)
    return [text for text in texts for _ in range(config.samples)]


def prompts_of(policy: TerrainPolicy, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
    """What a policy is asked with for each terrain."""
    return [[*policy.prompt_ids(text), start_id(tokenizer)] for text in texts]


def watch_of(
    config: PolicyStageConfig,
    policy: TerrainPolicy,
    tokenizer: PreTrainedTokenizerBase,
    evaluator: Evaluator,
    temperature: float,
) -> PolicyWatch:
    """What looks at the policy of a stage, on terrains of the validation split."""
    return PolicyWatch(
        policy,
        tokenizer,
        evaluator,
        config,
        config.distribution("validation"),
        longest=config.room(policy),
        robustness=config.robustness,
        temperature=temperature,
        seed=config.seed,
    )
