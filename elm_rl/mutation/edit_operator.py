"""A small language model of line edits as mutation operator: it reads a program and writes which lines change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from elm_rl.errors import ConfigError, ElmError
from elm_rl.models.language_model import load_language_model
from elm_rl.models.sampling import context_length
from elm_rl.mutation.edit_grammar import EditAnswer, EditGrammar
from elm_rl.mutation.edit_questions import Outcome, encode_question, first_message, read_answer
from elm_rl.mutation.edit_sampling import EditSampling, sample_edits
from elm_rl.mutation.line_edits import MARKS, EditCoder, LineEdit, LineEditError
from elm_rl.mutation.operator import CUT, FUNCTION_MESSAGE, TOO_LONG, Child, MutationOperator, Parent


@dataclass(frozen=True, kw_only=True)
class EditModelOptions:
    """How a model of line edits is asked."""

    temperature: float = 0.7
    """Divides the logits; higher is bolder, and more often invalid. 0 always takes the likeliest token."""
    min_p: float = 0.0
    """Samples from the tokens that are at least this many times as likely as the likeliest one."""
    outcome: Literal["small_gain", "fair_gain", "large_gain"] = "large_gain"
    """What a child is asked to be: one that raises the QD score of its map by under 2, under 8, or more walker units."""
    max_new_tokens: int = 140
    """Longest answer in tokens, those that are read again included; a longer one is cut, and gives no child."""
    batch_size: int = 64
    """Programs that are written side by side."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf") or not 0 <= self.min_p <= 1:
            raise ConfigError(
                f"Expected temperature >= 0 and 0 <= min_p <= 1; got {self.temperature} and {self.min_p}."
            )
        outcomes = [outcome.name.lower() for outcome in Outcome if outcome > Outcome.REFUSED]
        if self.outcome not in outcomes:
            raise ConfigError(f"outcome is {self.outcome!r}; expected one of {', '.join(outcomes)}.")
        for name in ("max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more.")


class EditModelMutation(MutationOperator):
    """Mutates programs with a model that `elm_rl.mutation.edit_training` has trained.

    Args:
        source: The model's folder.
        options: How it is asked.
        name: Name of the operator in records and tables.

    Raises:
        ElmError: The model cannot be loaded, or was not trained to write line edits.
    """

    ahead = True

    def __init__(self, source: str | Path, options: EditModelOptions | None = None, *, name: str = "edits") -> None:
        self.name = name
        self._source = str(source)
        self._options = options or EditModelOptions()
        self._model, tokenizer = load_language_model(source)
        self._coder = EditCoder(tokenizer)
        known = self._model.get_input_embeddings().num_embeddings
        if self._coder.vocabulary > known:
            raise ElmError(
                f"The tokenizer of '{self._source}' has {self._coder.vocabulary} tokens and its model knows {known}; they do "
                "not belong together, so train the model again."
            )
        self._model.eval()
        self._context = context_length(self._model)
        self._grammar = EditGrammar(self._coder, first_message(self._coder))
        self._sampling = EditSampling(
            self._options.temperature, self._options.min_p, self._options.max_new_tokens, self._options.batch_size
        )
        self._outcome = Outcome[self._options.outcome.upper()]

    def check_parents(self, programs: Sequence[str]) -> None:
        """Whether the model reads any of some programs.

        Raises:
            ElmError: It reads none.
        """
        if not any(self._question(Parent(program)) for program in programs):
            raise ElmError(
                f"The model '{self._source}' reads programs of up to {MARKS - 1} lines and {self._context} tokens, and all of "
                "those to begin with are longer; use another operator."
            )

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        """Makes one child per parent, all together.

        Args:
            parents: The elites; their programs are read by the model only, and never parsed.
            rng: Source of all randomness: the same generator state gives the same children.

        Yields:
            One child per parent, in order. It failed (``program=None``) where the parent is too long or the answer is cut
            or cannot be read.
        """
        seed = int(rng.integers(2**63))
        questions = [self._question(parent) for parent in parents]
        asked = [(p.program, ids) for p, ids in zip(parents, questions, strict=True) if ids is not None]
        answers = iter(sample_edits(self._model, self._grammar, asked, self._sampling, seed=seed))
        for parent, question in zip(parents, questions, strict=True):
            if question is None:
                yield Child(None, self.name, FUNCTION_MESSAGE, failure=TOO_LONG)
            else:
                yield self._child(parent.program, next(answers))

    def _question(self, parent: Parent) -> list[int] | None:
        """None where the context does not hold it with an answer."""
        ids = encode_question(self._coder, parent.program, parent.fitness, parent.measures, self._outcome)
        return ids if ids is not None and len(ids) + self._options.max_new_tokens <= self._context else None

    def _child(self, parent: str, answer: EditAnswer) -> Child:
        if not answer.ended:
            return Child(None, self.name, FUNCTION_MESSAGE, failure=CUT)
        try:
            message, edits, program = read_answer(self._coder, parent, answer.ids)
        except LineEditError:
            return Child(None, self.name, FUNCTION_MESSAGE)
        return Child(program, self.name, message, diff=_shown(edits))


def _shown(edits: Sequence[LineEdit]) -> str:
    """Edits for people to read; lines are counted from 1, as editors do."""
    parts = []
    for start, stop, lines in edits:
        where = f"lines {start + 1} to {stop}" if stop > start else f"before line {start + 1}"
        parts.append("\n".join([f"@ {where}:", *lines]))
    return "\n".join(parts) + "\n"
