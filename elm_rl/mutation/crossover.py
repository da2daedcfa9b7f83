"""Language-model crossover (Meyerson et al. 2023): some elites in a row as plain text, and the model writes the next one.

It asks nothing of a model but to go on with a text, so that base models can do it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from elm_rl.errors import ConfigError
from elm_rl.mutation.examples import plain_ids
from elm_rl.mutation.local_model import LocalModel, LocalModelOptions
from elm_rl.mutation.operator import FUNCTION_MESSAGE, TOO_LONG, Child, MutationOperator, Parent
from elm_rl.mutation.prompts import Reading, read_program

_HEAD = "# walker_{}.py\n"
_NEXT = re.compile(r"^#+ *walker_?\d", re.MULTILINE)


@dataclass(frozen=True, kw_only=True)
class CrossoverOptions(LocalModelOptions):
    """How a model is shown parents, and how it writes."""

    parents: int = 3
    """How many elites are shown before the one that is asked for."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.parents <= 16:
            raise ConfigError(f"parents is {self.parents}; expected 2 to 16.")


class CrossoverMutation(MutationOperator):
    """Has a model write a program that goes on a row of parents.

    Args:
        source: A folder, a GGUF file, or the name of a model on the Hugging Face hub.
        options: How many parents it is shown, and how it writes; by default as `CrossoverOptions` says.
        name: Name of the operator in records and tables.

    Raises:
        ElmError: The model cannot be loaded, or it and its tokenizer cannot read and write programs.
    """

    ahead = True

    def __init__(self, source: str, options: CrossoverOptions | None = None, *, name: str = "crossover") -> None:
        self.name = name
        self.options = options = options or CrossoverOptions()
        self.parents_per_child = options.parents
        self._local = LocalModel(source, options)

    def check_parents(self, programs: Sequence[str]) -> None:
        """Whether the model's context holds the row of any of some programs with another one.

        Raises:
            ElmError: It holds none.
        """
        others = self.parents_per_child - 1
        questions = [self._question(Parent(program, others=(Parent(program),) * others)) for program in programs]
        self._local.check_room(questions, programs)

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        """Makes one child per parent and its ``others``, all together.

        Yields:
            One child per parent, in order. It failed (``program=None``) where the parents do not fit the model's context, or
            what it wrote holds no program or was cut.
        """
        stopped = self._begin()
        seed = int(rng.integers(2**63))
        questions = [self._question(parent) for parent in parents]
        limits = [
            self._local.limit(question, max((each.program for each in (parent, *parent.others)), key=len))
            for question, parent in zip(questions, parents, strict=True)
        ]
        for answer in self._local.answers(questions, limits, seed, complete=_has_next, stopped=stopped):
            reading = Reading(None, TOO_LONG) if answer is None else _read(*answer)
            yield Child(reading.program, self.name, FUNCTION_MESSAGE, failure=reading.failure)

    def _question(self, parent: Parent) -> list[int]:
        """The parents in a row; the one that the child will be a child of stands last, where models look first."""
        row = [each.program for each in (*parent.others, parent)]
        shown = [f"{_HEAD.format(number)}{program.rstrip()}\n\n" for number, program in enumerate(row, start=1)]
        return plain_ids(self._local.tokenizer, "".join(shown) + _HEAD.format(len(row) + 1))


def _has_next(text: str) -> bool:
    return _NEXT.search(text) is not None


def _read(text: str, ended: bool) -> Reading:
    begins = _NEXT.search(text)
    if begins is not None:
        text, ended = text[: begins.start()], True
    return read_program(text.rstrip(), ended=ended)
