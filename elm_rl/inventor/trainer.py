"""TRL's PPO trainer, made to work for terrain-conditioned policies.

TRL took PPO out in 1.13; this module is written against 1.10 to 1.12 and is the only one that touches TRL's PPO. It works
around what is missing or broken there; the algorithm is TRL's.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import nn
from transformers import (
    PreTrainedModel,
    PreTrainedTokenizerBase,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    set_seed,
)
from transformers.modeling_outputs import BaseModelOutput
from transformers.trainer_callback import PrinterCallback

from elm_rl.errors import ConfigError
from elm_rl.inventor.trl_common import TRLSettings, quiet, random_state_kept
from elm_rl.models.conditioning import TerrainPolicy

# Importing trl.experimental warns that it may change without notice. We know: the versions that have PPO are pinned.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
from trl.experimental.ppo import PPOConfig, PPOTrainer

Score = Callable[[list[list[int]]], Sequence[float]]
"""Rewards of token ids, each row with its prompt."""
Batch = Callable[[int], list[list[int]]]
"""The prompts of an update, by its number."""


@dataclass(frozen=True, kw_only=True)
class PPOSettings(TRLSettings):
    """Settings of the PPO algorithm."""

    warm_up: int = 2
    """Updates in which the learning rate rises."""
    gamma: float = 1.0
    """Discount per token; 1, because a program is judged as a whole."""
    lam: float = 1.0
    """Lambda of generalised advantage estimation. Below 1 the reward, which comes with the last token, hardly reaches the first
    ones, and it is these that choose the walker: at 0.95 a token that stands 80 before the end gets 1.6% of it."""
    value_clip: float = 0.2
    """How far a value may move in one update, in reward units."""
    value_weight: float = 0.1
    """Weight of the value loss."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_above("value_clip")
        self.check(0, "warm_up", "value_weight")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a number from 0 to 1.")


class Learner:
    """What takes the steps: the policy, its critic, their optimiser; and the reference.

    Args:
        settings: Of the algorithm.
        policy: The conditioned policy; trained in place.
        value_model: The critic; trained in place.
        reference: What the KL term is measured from: called with ids and mask, it returns an object with ``logits``.
    """

    def __init__(
        self, settings: PPOSettings, policy: TerrainPolicy, value_model: PreTrainedModel, reference: nn.Module
    ) -> None:
        self.policy, self.value_model = policy, value_model
        self.reference = reference.eval().requires_grad_(False)
        self.groups = [[p for p in model.parameters() if p.requires_grad] for model in (policy, value_model)]
        self.optimizer = torch.optim.AdamW(
            [p for g in self.groups for p in g], settings.learning_rate, weight_decay=0.0
        )

    def state(self) -> dict[str, Any]:
        """State of critic and optimiser, for a checkpoint; the policy has its own."""
        return {"value_model": self.value_model.state_dict(), "optimizer": self.optimizer.state_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Takes it back."""
        self.value_model.load_state_dict(state["value_model"])
        self.optimizer.load_state_dict(state["optimizer"])


class _Stop(Exception):
    """Ends TRL's training loop between two updates."""


class UpdateWatcher(TrainerCallback):
    """Passes the figures of each update on, and ends the training when it is told to, which TRL's loop does not look at.

    Args:
        finished: Called after each update with TRL's figures; says whether to go on.
    """

    def __init__(self, finished: Callable[[dict[str, float]], bool]) -> None:
        self._finished = finished
        self._figures: dict[str, float] = {}

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **unused: Any,
    ) -> None:
        """Keeps the figures."""
        logs = logs or {}
        self._figures = {name: float(logs[key]) for key, name in _FIGURES.items() if key in logs}

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **unused: Any) -> None:
        """Passes them on."""
        if not self._finished(self._figures):
            raise _Stop


_FIGURES = {
    "objective/kl": "kl",  # from the reference, nats a program
    "objective/entropy": "entropy",  # nats a program
    "policy/approxkl_avg": "approx_kl",  # from the policy before the update
    "policy/clipfrac_avg": "clip_fraction",
    "loss/policy_avg": "loss",
    "loss/value_avg": "value_loss",
    "lr": "learning_rate",
}


class TerrainPPOTrainer(PPOTrainer):
    """TRL's PPO trainer, with its known defects worked around.

    - ``max_grad_norm`` is ignored: here the gradients of policy and value model are each clipped before every step.
    - A warm-up begins with a learning rate of 0 and wastes an update: here it begins one step up.
    - Random numbers come from global generators, of which NumPy's is not seeded: here all are seeded with the number of the
      update, and put back as they were at the end.
    - Training cannot be resumed: here it begins with any update, because what is random in one depends on its number alone.
      `Learner` has the state that a checkpoint needs.
    - A sampled padding token corrupts the masks: a policy that could sample one is refused.
    - Gradient accumulation together with mini-batches skips optimiser steps: a mini-batch is one forward pass here.
    - bfloat16 and gradient checkpointing are on by default: here they are off.

    Args:
        settings: Settings of the algorithm.
        learner: Policy, critic, reference and optimiser.
        tokenizer: Of the policy.
        folder: Where TRL may write; nothing is written.
        prompts: Gives the prompts of each update, all of one length, as many each time.
        score: Gives the rewards.
        updates: Numbers of the updates to make.
        longest: Tokens at which a program is cut.
        seed: Seed of every random choice.
        callback: Called after every update.

    Raises:
        ConfigError: Settings, policy and tokenizer do not fit each other.
    """

    def __init__(
        self,
        settings: PPOSettings,
        learner: Learner,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        *,
        prompts: Batch,
        score: Score,
        updates: range,
        longest: int,
        seed: int,
        callback: UpdateWatcher,
    ) -> None:
        size = len(prompts(updates.start))
        _check_fit(settings, learner.policy, tokenizer, size)
        self._learner, self._max_grad_norm = learner, settings.max_grad_norm
        learner.optimizer.register_step_pre_hook(self._clip_gradients)
        rate = torch.optim.lr_scheduler.LambdaLR(
            learner.optimizer, lambda done: min(1.0, (updates.start + done + 1) / (settings.warm_up + 1))
        )
        with random_state_kept(), quiet():
            super().__init__(
                args=_arguments(settings, folder, size, len(updates), longest, seed),
                processing_class=tokenizer,
                model=learner.policy,
                ref_model=learner.reference,
                reward_model=_RewardModel(score),
                value_model=learner.value_model,
                train_dataset=Dataset.from_dict({"input_ids": prompts(updates.start)}),
                data_collator=_stack,
                optimizers=(learner.optimizer, rate),
                callbacks=[callback],
            )
        self.dataloader = _SeededBatches(prompts, updates, seed)
        self.remove_callback(PrinterCallback)
        self.accelerator.print = _no_print  # TRL announces its loop on standard output

    def train(self) -> None:
        """Trains until the updates are done or the callback says no; leaves the models in evaluation mode."""
        with random_state_kept(), quiet():
            # TRL collects garbage twice an update, which takes half a second of looking at what was there all along.
            gc.freeze()
            try:
                super().train()
            except _Stop:
                self.callback_handler.on_train_end(self.args, self.state, self.control)
            finally:
                gc.unfreeze()
        self.model.eval()

    def _clip_gradients(self, *unused: Any) -> None:
        for parameters in self._learner.groups:
            nn.utils.clip_grad_norm_(parameters, self._max_grad_norm)


class _SeededBatches:
    """The prompts of each update in turn; seeds all generators when they are asked for, which is when the update begins."""

    def __init__(self, prompts: Batch, updates: range, seed: int) -> None:
        self._prompts, self._updates, self._seed = prompts, updates, seed

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        for update in self._updates:
            set_seed(int(np.random.default_rng([self._seed, update, 1]).integers(1 << 31)))
            yield {"input_ids": torch.tensor(self._prompts(update))}


class _RewardModel(nn.Module):
    """The reward model of TRL's PPO trainer: a module whose "backbone" reads ids and returns rewards.

    TRL calls the module named by ``base_model_prefix`` with ids and an attention mask, passes its last hidden state
    (batch, length, 1) through ``score``, and reads the row at the last token of the response. Every position of a row
    holds the same reward here, so it does not matter which one is read.
    """

    base_model_prefix = "backbone"

    def __init__(self, score: Score) -> None:
        super().__init__()
        self.backbone = _RewardBackbone(score)
        self.score = nn.Identity()


class _RewardBackbone(nn.Module):
    """Ids (batch, length) -> rewards as a hidden state (batch, length, 1)."""

    def __init__(self, score: Score) -> None:
        super().__init__()
        self._score = score

    def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor, **unused: Any) -> BaseModelOutput:
        # TRL overwrites padding with id 0, which may be a real token: only the mask tells them apart.
        rows = [ids[mask].tolist() for ids, mask in zip(input_ids.cpu(), attention_mask.bool().cpu(), strict=True)]
        rewards = torch.tensor(self._score(rows), dtype=torch.float32, device=input_ids.device)
        hidden = rewards[:, None, None].expand(-1, input_ids.shape[1], 1)
        return BaseModelOutput(last_hidden_state=hidden, hidden_states=(hidden,))


def _arguments(settings: PPOSettings, folder: Path, size: int, updates: int, longest: int, seed: int) -> PPOConfig:
    """TRL's options for our settings; everything that would write, print or report is off."""
    return PPOConfig(
        output_dir=str(folder),
        seed=seed,
        total_episodes=size * updates,
        per_device_train_batch_size=size,
        gradient_accumulation_steps=1,
        local_rollout_forward_batch_size=size,
        num_mini_batches=settings.mini_batches,
        num_ppo_epochs=settings.epochs,
        num_sample_generations=0,
        response_length=longest,
        stop_token="eos",
        temperature=settings.temperature,
        missing_eos_penalty=None,  # a program that was cut counts as none
        kl_coef=settings.kl,
        gamma=settings.gamma,
        lam=settings.lam,
        cliprange=settings.clip,
        cliprange_value=settings.value_clip,
        vf_coef=settings.value_weight,
        learning_rate=settings.learning_rate,
        bf16=False,
        gradient_checkpointing=False,
        report_to=[],
        save_strategy="no",
        disable_tqdm=True,
    )


def _check_fit(settings: PPOSettings, policy: TerrainPolicy, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    if size % settings.mini_batches:
        raise ConfigError(
            f"An update has {size} programs; expected a multiple of mini_batches, {settings.mini_batches}."
        )
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id not in policy.config.unsampleable_token_ids:
        raise ConfigError(
            "PPO needs a padding token that the policy cannot sample; condition the policy with "
            "unsampleable=unsampleable_ids(tokenizer), and give the tokenizer a padding token of its own."
        )


def _stack(rows: Sequence[dict[str, list[int]]]) -> dict[str, torch.Tensor]:
    """Prompts are equally long, so a batch needs no padding."""
    return {"input_ids": torch.tensor([row["input_ids"] for row in rows])}


def _no_print(*unused: Any, **also_unused: Any) -> None:
    """Prints nothing."""
