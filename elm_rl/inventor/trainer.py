"""TRL's PPO trainer, made to work for terrain-conditioned policies.

TRL took PPO out in 1.13; this module is written against 1.10 to 1.12 and is the only one that touches TRL. It works
around what is missing or broken there; the algorithm is TRL's.
"""

from __future__ import annotations

import gc
import os
import random
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
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
from transformers.trainer_callback import PrinterCallback
from transformers.utils import logging

from elm_rl.errors import ConfigError
from elm_rl.inventor.reward import TerrainReward
from elm_rl.models.conditioning.policy import TerrainPolicy
from elm_rl.models.sampling import context_length
from elm_rl.models.tokenizer import start_id

# Importing trl.experimental warns that it may change without notice. We know: the versions that have PPO are pinned.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")
from trl.experimental.ppo import PPOConfig, PPOTrainer


@dataclass(frozen=True, kw_only=True)
class PPOSettings:
    """Settings of the PPO algorithm. Rewards are in standard deviations of the stage 2 model's samples."""

    updates: int = 60
    """Updates, unless time or patience runs out first."""
    batch_size: int = 48
    """Programs per update; a multiple of the number of terrains and of mini_batches."""
    epochs: int = 4
    """Passes over the programs of an update."""
    mini_batches: int = 2
    """Optimiser steps per pass."""
    response_length: int = 128
    """Longest program in tokens, end token included; best just above the longest programs of the corpus."""
    temperature: float = 1.0
    """Sampling temperature; the policy that is trained is the one at this temperature."""
    learning_rate: float = 3e-4
    """Learning rate of policy and value model, after warm-up."""
    warm_up: int = 5
    """Updates in which the learning rate rises."""
    kl: float = 0.05
    """Reward lost per nat that the policy moves away from the reference on a program."""
    gamma: float = 1.0
    """Discount per token; 1, because a program is judged as a whole."""
    lam: float = 0.95
    """Lambda of generalised advantage estimation."""
    clip: float = 0.2
    """How far the probability of a token may move in one update, as a ratio."""
    value_clip: float = 0.2
    """How far a value may move in one update, in reward units."""
    value_weight: float = 0.1
    """Weight of the value loss."""
    max_grad_norm: float = 1.0
    """Largest norm of a gradient step, for policy and value model each."""
    missing_end_penalty: float = 1.0
    """Reward lost by a program that had to be cut at response_length; 0 for none."""
    seed: int = 0
    """Seed of sampling and of the order of mini-batches."""

    def __post_init__(self) -> None:
        for name in ("updates", "batch_size", "epochs", "mini_batches", "response_length"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more.")
        for name in ("temperature", "learning_rate", "clip", "value_clip", "max_grad_norm"):
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a number above 0.")
        for name in ("warm_up", "kl", "value_weight", "missing_end_penalty", "seed"):
            if not 0 <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 0 or more.")
        for name in ("gamma", "lam"):
            if not 0 <= getattr(self, name) <= 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a number from 0 to 1.")
        if self.batch_size % self.mini_batches:
            raise ConfigError(
                f"batch_size is {self.batch_size}; expected a multiple of mini_batches, which is {self.mini_batches}."
            )


class _Stop(Exception):
    """Ends TRL's training loop between two updates."""


class _StopWhenAsked(TrainerCallback):
    """Raises `_Stop` when a callback before it has asked for the end of training, which TRL's loop does not look at."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **unused: Any
    ) -> TrainerControl:
        if control.should_training_stop:
            raise _Stop
        return control


class TerrainPPOTrainer(PPOTrainer):
    """TRL's PPO trainer, with its known defects worked around.

    - ``max_grad_norm`` is ignored: here the gradients of policy and value model are each clipped before every step.
    - A warm-up begins with a learning rate of 0 and wastes an update: here it begins one step up.
    - A callback's request to stop is ignored: here it ends the training after the update.
    - Random numbers come from global generators, of which NumPy's is not seeded: here all are seeded, and put back as
      they were afterwards.
    - A sampled padding token corrupts the masks: a policy that could sample one is refused.
    - Gradient accumulation together with mini-batches skips optimiser steps: a mini-batch is one forward pass here.
    - bfloat16 and gradient checkpointing are on by default: here they are off.
    - Checkpoints cannot be resumed, because they hold the policy only: none are written.

    The data set is one batch with equally many prompts of every terrain, so that every batch is balanced however it is
    shuffled.

    Args:
        settings: Settings of the algorithm.
        policy: The conditioned policy; trained in place.
        reference: What the KL term is measured from: called with ids and mask, it returns an object with ``logits``.
        value_model: The critic; trained in place.
        reward: The environment as a reward model.
        tokenizer: Of the policy.
        folder: Where TRL may write.
        callbacks: Called after every update.

    Raises:
        ConfigError: Settings, policy and tokenizer do not fit each other.
    """

    def __init__(
        self,
        settings: PPOSettings,
        policy: TerrainPolicy,
        reference: nn.Module,
        value_model: PreTrainedModel,
        reward: TerrainReward,
        tokenizer: PreTrainedTokenizerBase,
        folder: Path,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        prompts = [[*policy.prompt_ids(name), start_id(tokenizer)] for name in policy.book.texts]
        _check_fit(settings, policy, tokenizer, prompts)
        self._max_grad_norm = settings.max_grad_norm
        self._clipped = [[p for p in model.parameters() if p.requires_grad] for model in (policy, value_model)]
        optimizer = torch.optim.AdamW([p for ps in self._clipped for p in ps], settings.learning_rate, weight_decay=0.0)
        optimizer.register_step_pre_hook(self._clip_gradients)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda done: min(1.0, (done + 1) / (settings.warm_up + 1)))
        with _seeded(settings.seed), _quiet():
            super().__init__(
                args=_arguments(settings, folder),
                processing_class=tokenizer,
                model=policy,
                ref_model=reference.eval().requires_grad_(False),
                reward_model=reward,
                value_model=value_model,
                train_dataset=Dataset.from_dict({"input_ids": prompts * (settings.batch_size // len(prompts))}),
                data_collator=_stack,
                optimizers=(optimizer, rate),
                callbacks=[*callbacks, _StopWhenAsked()],
            )
        self.remove_callback(PrinterCallback)
        self.accelerator.print = _no_print  # TRL announces its loop on standard output

    def train(self) -> None:
        """Trains until the updates are done or a callback asks to stop; leaves the models in evaluation mode."""
        with _seeded(self.args.seed), _quiet():
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
        for parameters in self._clipped:
            nn.utils.clip_grad_norm_(parameters, self._max_grad_norm)


def _arguments(settings: PPOSettings, folder: Path) -> PPOConfig:
    """TRL's options for our settings; everything that would write, print or report is off."""
    return PPOConfig(
        output_dir=str(folder),
        seed=settings.seed,
        total_episodes=settings.batch_size * settings.updates,
        per_device_train_batch_size=settings.batch_size,
        gradient_accumulation_steps=1,
        local_rollout_forward_batch_size=settings.batch_size,
        num_mini_batches=settings.mini_batches,
        num_ppo_epochs=settings.epochs,
        num_sample_generations=0,
        response_length=settings.response_length,
        stop_token="eos",
        temperature=settings.temperature,
        missing_eos_penalty=settings.missing_end_penalty or None,
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


def _check_fit(
    settings: PPOSettings,
    policy: TerrainPolicy,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Sequence[int]],
) -> None:
    if settings.batch_size % len(prompts):
        raise ConfigError(
            f"batch_size is {settings.batch_size}, but every batch has equally many programs of each of the "
            f"{len(prompts)} terrains; choose a multiple of {len(prompts)}."
        )
    context = context_length(policy)
    if len(prompts[0]) + settings.response_length > context:
        raise ConfigError(
            f"response_length is {settings.response_length}, but the model's context is {context} tokens, of which the "
            f"prompt takes {len(prompts[0])}; choose {context - len(prompts[0])} or less."
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


@contextmanager
def _quiet() -> Iterator[None]:
    """Hides warnings about how TRL uses transformers, which nobody who runs this can act on."""
    verbosity = logging.get_verbosity()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
        logging.set_verbosity_error()
        try:
            yield
        finally:
            logging.set_verbosity(verbosity)


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seeds the global generators that TRL draws from, and puts their states back at the end."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 (TRL draws from this one)
    with torch.random.fork_rng():
        try:
            set_seed(seed)
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
