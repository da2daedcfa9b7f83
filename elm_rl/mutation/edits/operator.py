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
from elm_rl.mutation.edits.grammar import EditAnswer, EditGrammar
from elm_rl.mutation.edits.line_edits import MARKS, EditCoder, LineEdit, LineEditError, split_lines
from elm_rl.mutation.edits.questions import Verdict, encode_question, first_message, read_answer
from elm_rl.mutation.edits.sampling import EditSampling, sample_edits
from elm_rl.mutation.operator import CUT, FUNCTION_MESSAGE, TOO_LONG, Child, MutationOperator, Parent


@dataclass(frozen=True, kw_only=True)
class EditModelOptions:
    """How a model of line edits is asked."""

    temperature: float = 0.5
    """Divides the logits; higher is bolder, and more often invalid. 0 always takes the likeliest token."""
    min_p: float = 0.0
    """Samples from the tokens that are at least this many times as likely as the likeliest one."""
    attempts: int = 6
    """How often an answer is drawn until it changes something, with lines that fit: a model that has learnt to copy lines
    copies some unchanged, a quarter of them at temperature 0.5."""
    verdict: Literal["small_gain", "fair_gain", "large_gain"] = "large_gain"
    """What a child is asked to be: one that raises the QD score of its map by under 2, under 8, or more walker units."""
    max_new_tokens: int = 80
    """Longest answer in tokens, those that are read again included; a longer one is cut, and gives no child. Of the changes of
    genetic programming 3% are longer, and a few long answers hold up all others."""
    batch_size: int = 96
    """Answers that are written side by side."""

    def __post_init__(self) -> None:
        if not 0 <= self.temperature < float("inf") or not 0 <= self.min_p <= 1:
            raise ConfigError(
                f"Expected temperature >= 0 and 0 <= min_p <= 1; got {self.temperature} and {self.min_p}."
            )
        known = [verdict.name.lower() for verdict in Verdict if verdict > Verdict.REFUSED]
        if self.verdict not in known:
            raise ConfigError(f"verdict is {self.verdict!r}; expected one of {', '.join(known)}.")
        for name in ("attempts", "max_new_tokens", "batch_size"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}; expected 1 or more.")


class EditModelMutation(MutationOperator):
    """Mutates programs with a model that `elm_rl.mutation.edits.training` has trained.

    Args:
        source: The model's folder.
        options: How it is asked.
        name: Name of the operator in records and tables.

    Raises:
        ElmError: The model cannot be loaded, or was not trained to write line edits.
    """

    ahead = True
    tries = 4

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
            temperature=self._options.temperature,
            min_p=self._options.min_p,
            max_new_tokens=self._options.max_new_tokens,
            batch_size=self._options.batch_size,
            attempts=self._options.attempts,
            verdict=Verdict[self._options.verdict.upper()],
        )

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
            One child per parent, in order. It failed (``program=None``) where the parent is too long, or all answers were
            cut or changed nothing.
        """
        stopped = self._begin()
        seed = int(rng.integers(2**63))
        children = [Child(None, self.name, FUNCTION_MESSAGE, failure=TOO_LONG) for _ in parents]
        questions = [self._question(parent) for parent in parents]
        places = [place for place, question in enumerate(questions) if question is not None]
        asked = [(parents[place].program, questions[place] or []) for place in places]

        def take(number: int, answer: EditAnswer) -> bool:
            child = children[places[number]] = self._child(parents[places[number]].program, answer)
            return child.applied

        sample_edits(self._model, self._grammar, asked, self._sampling, seed=seed, take=take, stopped=stopped)
        yield from children

    def _question(self, parent: Parent) -> list[int] | None:
        """None where the context does not hold it with an answer."""
        ids = encode_question(self._coder, parent.program, parent.fitness, parent.measures)
        # Beside the answer there are the verdict before it and its end.
        return ids if ids is not None and len(ids) + self._options.max_new_tokens + 2 <= self._context else None

    def _child(self, parent: str, answer: EditAnswer) -> Child:
        if not answer.ended:
            return Child(None, self.name, FUNCTION_MESSAGE, failure=CUT)
        if answer.broken:
            return Child(None, self.name, FUNCTION_MESSAGE)
        try:
            message, edits, program = read_answer(self._coder, parent, answer.ids)
        except LineEditError:
            return Child(None, self.name, FUNCTION_MESSAGE)
        if split_lines(program) == split_lines(parent):
            return Child(None, self.name, message)
        return Child(program, self.name, message, diff=_shown(edits))


def _shown(edits: Sequence[LineEdit]) -> str:
    """Edits for people to read; lines are counted from 1, as editors do."""
    parts = []
    for start, stop, lines in edits:
        where = f"lines {start + 1} to {stop}" if stop > start else f"before line {start + 1}"
        parts.append("\n".join([f"@ {where}:", *lines]))
    return "\n".join(parts) + "\n"
