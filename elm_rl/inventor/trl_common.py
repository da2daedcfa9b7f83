"""What TRL's trainers have in common here: settings, and that they neither talk nor disturb the global random numbers."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from transformers.utils import logging

from elm_rl.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TRLSettings:
    """Settings that all of them share. Rewards are ranks within a terrain, from -1 to 1."""

    epochs: int = 2
    """Passes over the programs of an update."""
    mini_batches: int = 2
    """Optimiser steps per pass."""
    temperature: float = 1.0
    """Temperature at which programs are drawn; the policy that is trained is the one at this temperature."""
    learning_rate: float = 2e-4
    """Learning rate of Adam; PPO warms up to it, its value model too."""
    kl: float = 0.05
    """Weight of the divergence from the start, in nats: a token's in the loss of grpo, a program's in the reward of all
    others."""
    clip: float = 0.2
    """How far the probability may move in one update, as a ratio: of a token, for rloo of a program."""
    max_grad_norm: float = 1.0
    """Largest norm of a gradient step; of policy and value model each."""

    def __post_init__(self) -> None:
        self.check(1, "epochs", "mini_batches")
        self.check_above("temperature", "learning_rate", "clip", "max_grad_norm")
        self.check(0, "kl")

    def check(self, low: int, *names: str) -> None:
        """Raises ConfigError for a setting that is less, or infinite."""
        for name in names:
            if not low <= getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; expected {low} or more.")

    def check_above(self, *names: str) -> None:
        """Raises ConfigError for a setting that is not above 0, or infinite."""
        for name in names:
            if not 0 < getattr(self, name) < float("inf"):
                raise ConfigError(f"{name} is {getattr(self, name)}; expected a number above 0.")


@contextmanager
def quiet() -> Iterator[None]:
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
def random_state_kept() -> Iterator[None]:
    """Puts the states of the global generators, which TRL draws from and seeds, back at the end."""
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002 (TRL draws from this one)
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python_state)
            np.random.set_state(numpy_state)  # noqa: NPY002
