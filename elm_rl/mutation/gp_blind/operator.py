"""Genetic programming on syntax trees that knows nothing of joints, muscles or walkers.

It is what Lehman et al. (2022) compare their models with, and the measure of what
:mod:`elm_rl.mutation.gp.operator` owes to its knowledge of walker programs. All it knows is Python: which places hold
expressions and statements, and which names are in reach. A child is a crossover of two programs, or a parent with some edits.
The commit message fits what was done. The output always parses.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np

from elm_rl.errors import ConfigError
from elm_rl.mutation.gp.operator import REMEMBERED_LINES, Edit
from elm_rl.mutation.gp.program_lines import Program, ProgramReader
from elm_rl.mutation.gp.program_tree import ProgramTextError, parse_program
from elm_rl.mutation.gp.program_view import ProgramView
from elm_rl.mutation.gp_blind import crossover, expressions, statements
from elm_rl.mutation.operator import (
    FUNCTION_MESSAGE,
    PARAMETERS_MESSAGE,
    SMALL_MESSAGE,
    Child,
    MutationOperator,
    Parent,
)

Crossover = Callable[[ProgramView, ProgramView, np.random.Generator], bool]

EDITS: tuple[tuple[Edit, str, float], ...] = (
    (expressions.change_constant, PARAMETERS_MESSAGE, 4.0),
    (expressions.replace_subtree, FUNCTION_MESSAGE, 2.0),
    (expressions.hoist_subtree, FUNCTION_MESSAGE, 0.5),
    (expressions.change_operator, SMALL_MESSAGE, 1.5),
    (expressions.change_name, SMALL_MESSAGE, 1.5),
    (expressions.change_call, SMALL_MESSAGE, 0.5),
    (statements.delete_statement, FUNCTION_MESSAGE, 0.7),
    (statements.duplicate_statement, FUNCTION_MESSAGE, 1.0),
    (statements.swap_statements, FUNCTION_MESSAGE, 0.5),
    (statements.insert_statement, FUNCTION_MESSAGE, 1.0),
)
"""Every edit, the message that describes it, and its odds (they need not add up to 1)."""
CROSSOVERS: tuple[Crossover, ...] = (
    crossover.cross_functions,
    crossover.cross_statements,
    crossover.cross_expressions,
)
ATTEMPTS = 4
"""How often a child is tried before giving up on a parent."""
_BOUNDS = list(accumulate(odds for _, _, odds in EDITS))


@dataclass(frozen=True, kw_only=True)
class GPBlindOptions:
    """Settings of :class:`GPBlindMutation`.

    Raises:
        ConfigError: A setting is out of range.
    """

    crossover: float = 0.2
    """Odds that a child is a crossover with another elite instead of a mutation; with 0 no other elite is asked for."""
    edits: int = 1
    """The fewest edits of a mutation."""
    max_edits: int = 3
    """The most edits of a mutation."""
    more_edits: float = 0.4
    """Odds that another edit follows, from the fewest to the most."""

    def __post_init__(self) -> None:
        """Checks the settings."""
        if not 0.0 <= self.crossover <= 1.0:
            raise ConfigError(f"crossover is {self.crossover}; expected odds from 0 to 1.")
        if not 0.0 <= self.more_edits <= 1.0:
            raise ConfigError(f"more_edits is {self.more_edits}; expected odds from 0 to 1.")
        if not 1 <= self.edits <= self.max_edits:
            raise ConfigError(
                f"edits is {self.edits} and max_edits {self.max_edits}; expected whole numbers from 1 on, the former at "
                "most as large as the latter."
            )


class GPBlindMutation(MutationOperator):
    """Mutates and crosses programs by random edits of their syntax trees. An operator serves one thread at a time.

    Args:
        options: The settings.
        name: Its name in logs and tables.
    """

    def __init__(self, options: GPBlindOptions | None = None, name: str = "gp-blind") -> None:
        self.name = name
        self._options = options or GPBlindOptions()
        self.parents_per_child = 2 if self._options.crossover > 0.0 else 1
        self._reader = ProgramReader(REMEMBERED_LINES)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_reader"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reader = ProgramReader(REMEMBERED_LINES)  # what was remembered stays where it was

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        """Makes one child per parent, each when it is asked for.

        Args:
            parents: Admitted programs (they are parsed on the host, after their size and nesting were capped). One
                without ``others`` is always mutated.
            rng: Source of all randomness.

        Yields:
            One child per parent, in order. A parent that is too long, too deeply nested or cannot be edited gives a
            failed child (``program=None``).
        """
        for parent in parents:
            yield self._child(parent, rng)

    def _child(self, parent: Parent, rng: np.random.Generator) -> Child:
        crossing = bool(parent.others) and rng.random() < self._options.crossover
        message = FUNCTION_MESSAGE
        for attempt in range(ATTEMPTS):
            # Two programs may have nothing to exchange, or only what makes one the other.
            other = parent.others[0].program if crossing and attempt < ATTEMPTS // 2 else None
            try:
                giver = None if other is None else ProgramView(Program(parse_program(other)))
            except ProgramTextError:
                crossing = False
                continue
            try:
                program = self._reader.read(parent.program)
            except ProgramTextError:
                break
            try:
                message = self._edit(program, rng) if giver is None else _cross(program, giver, rng)
                text = program.write() if message else parent.program
            except ProgramTextError:
                continue
            finally:
                program.release()
            if text not in (parent.program, other):
                return Child(text, self.name, message)
        return Child(None, self.name, message or FUNCTION_MESSAGE)

    def _edit(self, program: Program, rng: np.random.Generator) -> str:
        """Edits a program; returns the message that describes all that was done, empty if it was nothing."""
        options = self._options
        edits = options.edits
        while edits < options.max_edits and rng.random() < options.more_edits:
            edits += 1
        messages = [message for _ in range(edits) if (message := _one_edit(ProgramView(program), rng))]
        if not messages or set(messages) == {PARAMETERS_MESSAGE}:
            return messages[0] if messages else ""
        return SMALL_MESSAGE if messages == [SMALL_MESSAGE] else FUNCTION_MESSAGE


def _one_edit(view: ProgramView, rng: np.random.Generator) -> str:
    # An edit that finds nothing to work on in this program gives way to another.
    for _ in range(2 * len(EDITS)):
        edit, message, _ = EDITS[bisect_right(_BOUNDS, rng.random() * _BOUNDS[-1])]
        if edit(view, rng):
            return message
    return ""


def _cross(program: Program, giver: ProgramView, rng: np.random.Generator) -> str:
    how = CROSSOVERS[int(rng.integers(len(CROSSOVERS)))]
    return FUNCTION_MESSAGE if how(ProgramView(program), giver, rng) else ""
