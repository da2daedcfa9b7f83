"""Samples of language models: of stage 2, which know no terrain, and of policies, which are asked for it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import PreTrainedTokenizerBase

from benchmarks.entrants.costs import BUILTIN_POLICY_TRAINING, spent_in
from elm_rl.inventor.builtin import BUILTIN_POLICY
from elm_rl.models.conditioning import TerrainPolicy
from elm_rl.models.language_model import load_language_model
from elm_rl.models.sampling import context_length, sample_completions
from elm_rl.models.tokenizer import decode_program, start_id
from sodarace_gym.suite import Task

_BATCH = 64
"""Programs that are written side by side."""


class Samples:
    """Programs that a model of this project writes; a conditioned policy writes for the terrain of the task.

    A policy with learned codes knows only the terrains that it has codes for, and has no answer for others.

    Args:
        folder: The model: of ``elm-rl pretrain``, or a policy of ``elm-rl supervised`` or a later stage; the policy that comes
            with the package where there is none.
        costs: Folders whose stages count as training, as ``elm-rl ledger`` shows them; those of the shipped policy are known.
        name: In tables.
        temperature: Divides the logits.
        min_p: Samples from the tokens that are at least this many times as likely as the likeliest one.
        longest: Tokens at which a program is cut.
    """

    def __init__(
        self,
        folder: str | None = None,
        costs: str | Sequence[str] = (),
        name: str | None = None,
        temperature: float = 1.0,
        min_p: float = 0.0,
        longest: int = 256,
    ) -> None:
        self.folder = BUILTIN_POLICY if folder is None else Path(folder)
        self.name = name or f"samples of {self.folder.name}"
        self.temperature, self.min_p, self.longest = temperature, min_p, longest
        self.training = BUILTIN_POLICY_TRAINING
        if folder is not None:
            self.training = spent_in((costs,) if isinstance(costs, str) else costs)

    def generate(self, task: Task, rng: np.random.Generator) -> None:
        """See ``Generator``."""
        torch.set_num_threads(1)  # sums are then added in one order
        model, tokenizer = _loaded(self.folder)
        prompt = [start_id(tokenizer)]
        if isinstance(model, TerrainPolicy):
            known = model.config.terrain_texts
            if known and task.name not in known:
                return
            prompt = [*model.prompt_ids(task.name), *prompt]
        room = min(self.longest, context_length(model) - len(prompt))
        while task.left > 0:
            answers = sample_completions(
                model,
                tokenizer,
                [prompt] * min(_BATCH, task.left),
                max_new_tokens=room,
                temperature=self.temperature,
                min_p=self.min_p,
                seed=int(rng.integers(2**63)),
            )
            task.spend(model_calls=len(answers), tokens=sum(map(len, answers)))
            task.evaluate([decode_program(tokenizer, ids) for ids in answers])


@lru_cache
def _loaded(folder: Path) -> tuple[Any, PreTrainedTokenizerBase]:
    return load_language_model(folder)
