"""TRL's GRPO and RLOO trainers for terrain-conditioned policies: no critic, a program is compared with its siblings.

Both trainers take texts as prompts; here the text names the terrain, and becomes the policy's ids. Checkpoints are not theirs:
what is random in an update depends on its number alone, so that a run can begin with any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from datasets import Dataset
from transformers import (
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.trainer_callback import PrinterCallback
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from elm_rl.errors import ConfigError
from elm_rl.inventor.trl_common import TRLSettings, quiet, random_state_kept
from elm_rl.models.conditioning import TerrainPolicy, prompts_of
from elm_rl.models.language_model import no_progress_bars

GroupScore = Callable[[Sequence[Sequence[int]], Sequence[str]], Sequence[float]]
"""Rewards of token ids and the texts that name their terrains."""


@dataclass(frozen=True, kw_only=True)
class GroupSettings(TRLSettings):
    """Settings of GRPO and RLOO."""

    algorithm: Literal["grpo", "rloo"] = "grpo"
    """grpo (Shao et al. 2024): a clipped loss, advantages within the group; rloo (Ahmadian et al. 2024): REINFORCE with the
    mean of the siblings as baseline, the divergence as part of the reward."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.algorithm not in ("grpo", "rloo"):
            raise ConfigError(f"algorithm is {self.algorithm!r}; expected grpo or rloo.")


_FIGURES = ("loss", "kl", "entropy", "grad_norm")
"""What is kept of TRL's figures: their means over the steps of an update."""


class PolicyOptimizer:
    """Adam over the weights of a policy.

    Args:
        policy: The policy.
        learning_rate: Its learning rate.
    """

    def __init__(self, policy: TerrainPolicy, learning_rate: float) -> None:
        self.policy = policy
        self.adam = torch.optim.Adam([p for p in policy.parameters() if p.requires_grad], learning_rate)

    def state(self) -> dict[str, Any]:
        """The optimiser's state, for a checkpoint."""
        return self.adam.state_dict()

    def restore(self, state: dict[str, Any]) -> None:
        """Takes back an optimiser's state."""
        self.adam.load_state_dict(state)


class _Updates(TrainerCallback):
    """Seeds every update with its number, and passes its figures on once it is done."""

    def __init__(self, first: int, steps: int, seed: int, finished: Callable[[dict[str, float]], bool]) -> None:
        self._first, self._steps, self._seed, self._finished = first, steps, seed, finished
        self._logged: dict[str, list[float]] = {}

    def on_step_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **unused: Any
    ) -> None:
        if state.global_step % self._steps == 0:
            update = self._first + state.global_step // self._steps
            set_seed(int(np.random.default_rng([self._seed, update, 1]).integers(1 << 31)))

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **unused: Any,
    ) -> TrainerControl:
        logs = logs or {}
        if "loss" not in logs:  # the summary at the end
            return control
        for name in _FIGURES:
            if name in logs:
                self._logged.setdefault(name, []).append(float(logs[name]))
        if state.global_step % self._steps == 0:
            figures = {name: float(np.mean(values)) for name, values in self._logged.items()}
            self._logged = {}
            control.should_training_stop = not self._finished(figures)
        return control


class _TerrainPrompts:
    """Turns the texts that name terrains into the policy's ids."""

    policy_prompts: Callable[[Sequence[str]], list[list[int]]]

    def _tokenize_prompts(self, prompts: Sequence[str]) -> tuple[list[list[int]], None, dict[str, Any]]:
        return self.policy_prompts(prompts), None, {}


class TerrainGRPOTrainer(_TerrainPrompts, GRPOTrainer):
    """TRL's GRPO trainer with terrains as prompts."""


class TerrainRLOOTrainer(_TerrainPrompts, RLOOTrainer):
    """TRL's RLOO trainer with terrains as prompts."""


def train_group(
    settings: GroupSettings,
    learner: PolicyOptimizer,
    tokenizer: PreTrainedTokenizerBase,
    folder: Path,
    *,
    terrains: Callable[[int], list[str]],
    score: GroupScore,
    finished: Callable[[dict[str, float]], bool],
    updates: range,
    samples: int,
    longest: int,
    seed: int,
) -> None:
    """Trains a policy in place.

    Args:
        settings: Of the algorithm.
        learner: The policy with its optimiser.
        tokenizer: Of the policy.
        folder: Where TRL may write; nothing is written.
        terrains: The texts of the terrains of an update, by its number; as many each time.
        score: Gives the rewards of a batch.
        finished: Called after each update with TRL's figures; says whether to go on.
        updates: Numbers of the updates to make.
        samples: Programs for each terrain of an update.
        longest: Tokens at which a program is cut.
        seed: Seed of every random choice.

    Raises:
        ConfigError: The programs of an update cannot be split into the mini-batches.
    """
    policy = learner.policy
    size, steps = len(terrains(updates.start)) * samples, settings.epochs * settings.mini_batches
    if size % settings.mini_batches or (size // settings.mini_batches) % samples:
        raise ConfigError(
            f"An update has {size // samples} terrains; expected a multiple of mini_batches, {settings.mini_batches}."
        )

    def reward(completion_ids: Sequence[Sequence[int]], terrain: Sequence[str], **unused: Any) -> list[float]:
        return [float(each) for each in score(completion_ids, terrain)]

    rows = [text for update in updates for text in terrains(update)]
    shared: dict[str, Any] = {
        "output_dir": str(folder),
        "seed": seed,
        "max_steps": len(updates) * steps,
        "per_device_train_batch_size": size // settings.mini_batches,
        "steps_per_generation": settings.mini_batches,
        "num_iterations": settings.epochs,
        "num_generations": samples,
        "shuffle_dataset": False,
        "max_completion_length": longest,
        "temperature": settings.temperature,
        "top_k": 0,
        "learning_rate": settings.learning_rate,
        "beta": settings.kl,
        "epsilon": settings.clip,
        "max_grad_norm": settings.max_grad_norm,
        "bf16": False,
        "gradient_checkpointing": False,
        "logging_steps": 1,
        "report_to": [],
        "save_strategy": "no",
        "disable_tqdm": True,
        "remove_unused_columns": False,
        "dataloader_pin_memory": torch.cuda.is_available(),
    }
    kinds: dict[str, tuple[type[Any], type[Any], dict[str, Any]]] = {
        "grpo": (TerrainGRPOTrainer, GRPOConfig, {"scale_rewards": "none"}),  # ranks have one scale on every terrain
        "rloo": (TerrainRLOOTrainer, RLOOConfig, {}),
    }
    trainer_class, config_class, own = kinds[settings.algorithm]
    constant = torch.optim.lr_scheduler.LambdaLR(learner.adam, lambda done: 1.0)
    with random_state_kept(), quiet(), no_progress_bars():
        trainer = trainer_class(
            model=policy,
            reward_funcs=[reward],
            args=config_class(**shared, **own),
            train_dataset=Dataset.from_dict({"prompt": rows, "terrain": rows}),
            processing_class=tokenizer,
            callbacks=[_Updates(updates.start, steps, seed, finished)],
            optimizers=(learner.adam, constant),
        )
        trainer.policy_prompts = lambda texts: prompts_of(policy, tokenizer, texts)
        if trainer.ref_model is not None:
            # Its ids have to mean the terrains that the policy's mean.
            trainer.ref_model.book = trainer.ref_model.encoder.book = policy.book
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    policy.eval()
