"""Mutation operators, all behind the interface of :mod:`elm_rl.mutation.operator`.

`gp` edits syntax trees, `gp_blind` does so without knowing what a walker is. `language_model` asks a model for the child;
`examples` has the layouts that our own are asked and trained in, `questions` what others are asked, `answers` finds the program
in what pretrained models say, `patch` and `line_matching` read the diffs it writes. `chat` has a model that talks change
programs, `prompts` is what it is told and `memory` what it is told of earlier changes; `crossover` has a model go on with a row
of parents; `local_model` is what the two share. `api` asks servers. `training` trains a model on a run's own history,
with `training_options`, and leaves with it what `trained_format` reads. `specs` makes operators by name, and `catalogue`
explains them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sodarace_gym.lazy import lazy_names

if TYPE_CHECKING:
    from elm_rl.mutation.chat import ChatMutation as ChatMutation
    from elm_rl.mutation.chat import ChatOptions as ChatOptions
    from elm_rl.mutation.crossover import CrossoverMutation as CrossoverMutation
    from elm_rl.mutation.crossover import CrossoverOptions as CrossoverOptions
    from elm_rl.mutation.gp.operator import GPMutation as GPMutation
    from elm_rl.mutation.gp_blind.operator import GPBlindMutation as GPBlindMutation
    from elm_rl.mutation.gp_blind.operator import GPBlindOptions as GPBlindOptions
    from elm_rl.mutation.language_model import LanguageModelMutation as LanguageModelMutation
    from elm_rl.mutation.language_model import ModelOptions as ModelOptions
    from elm_rl.mutation.operator import COMMIT_MESSAGES as COMMIT_MESSAGES
    from elm_rl.mutation.operator import Child as Child
    from elm_rl.mutation.operator import MutationOperator as MutationOperator
    from elm_rl.mutation.training import MutationTrainingConfig as MutationTrainingConfig
    from elm_rl.mutation.training import run_mutation_training as run_mutation_training

__getattr__, __dir__ = lazy_names(
    __name__,
    {
        "chat": ["ChatMutation", "ChatOptions"],
        "crossover": ["CrossoverMutation", "CrossoverOptions"],
        "gp.operator": ["GPMutation"],
        "gp_blind.operator": ["GPBlindMutation", "GPBlindOptions"],
        "language_model": ["LanguageModelMutation", "ModelOptions"],
        "operator": ["COMMIT_MESSAGES", "Child", "MutationOperator"],
        "training": ["MutationTrainingConfig", "run_mutation_training"],
    },
)
