"""A policy of stage 3 as operator: it writes programs for the terrain of an archive, whatever the parent.

So evolution on terrains tries what a policy writes beside the children of genetic programming, which may have its walkers as
parents. What comes of it a cross table takes up and the next policy learns: expert iteration.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from elm_rl.errors import ConfigError
from elm_rl.models.conditioning import prompts_of
from elm_rl.models.language_model import load_policy
from elm_rl.models.sampling import SamplingSettings, context_length, sample_answers
from elm_rl.models.tokenizer import decode_program
from elm_rl.mutation.operator import CUT, FUNCTION_MESSAGE, Child, MutationOperator, Parent


@dataclass(frozen=True, kw_only=True)
class PolicyOptions:
    """How a policy is asked."""

    temperature: float = 1.0
    """Divides the logits; higher is bolder, and more often invalid; 0 always takes the likeliest token."""
    min_p: float = 0.0
    """Samples from the tokens that are at least this many times as likely as the likeliest one."""
    max_new_tokens: int = 256
    """Longest program in tokens; a longer one is cut, and gives no child."""
    batch_size: int = 64
    """Programs that are written side by side."""

    def __post_init__(self) -> None:
        """Raises ConfigError for what is out of range."""
        SamplingSettings(self.temperature, min_p=self.min_p)
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more.")


class PolicyMutation(MutationOperator):
    """Writes programs with a terrain-conditioned model.

    Args:
        source: Folder of a policy that 'elm-rl supervised' or a later stage has written.
        options: How it is asked.
        name: Name of the operator in records and tables.

    Raises:
        ElmError: The policy cannot be loaded.
    """

    ahead = True

    def __init__(self, source: str | Path, options: PolicyOptions | None = None, *, name: str = "policy") -> None:
        self.name = name
        self._options = options or PolicyOptions()
        self._policy, self._tokenizer = load_policy(Path(source))

    def check_terrains(self, texts: Sequence[str]) -> None:
        """Raises ConfigError where the policy has codes for other terrains only."""
        for text in texts:
            self._policy.prompt_ids(text)

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        """Writes a program for the terrain of each parent.

        Args:
            parents: Elites, of which nothing but the terrain is looked at.
            rng: Source of all randomness.

        Yields:
            One child per parent, in order; it failed where the program was cut.
        """
        stopped = self._begin()
        seed = int(rng.integers(2**63))
        prompts = prompts_of(self._policy, self._tokenizer, [parent.terrain for parent in parents])
        room = context_length(self._policy) - max(map(len, prompts), default=0)
        answers = sample_answers(
            self._policy,
            self._tokenizer,
            prompts,
            max_new_tokens=min(self._options.max_new_tokens, room),
            temperature=self._options.temperature,
            min_p=self._options.min_p,
            batch_size=self._options.batch_size,
            seed=seed,
            stopped=stopped,
        )
        for answer in answers:
            if answer.ended:
                yield Child(decode_program(self._tokenizer, answer.ids), self.name, FUNCTION_MESSAGE)
            else:
                yield Child(None, self.name, FUNCTION_MESSAGE, failure=CUT)
