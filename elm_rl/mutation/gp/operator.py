"""Genetic programming: random edits of a program's syntax tree.

The commit message is drawn first, by the odds of :data:`~elm_rl.mutation.operator.COMMIT_MESSAGES`, and decides which
family of edits may follow, so that a model trained on (parent, message, child) can be prompted with the message:

- "Change the make_walker function.": one to three edits of statements and whole expressions;
- "Change parameters in make_walker.": one to three edits of numbers;
- "Make a small change to make_walker.": a single edit of one operator, name, function, flag or number.

The output always parses: it is parsed before it is returned.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np

from elm_rl.mutation.gp import constants, expressions, parts, statements
from elm_rl.mutation.gp.program_lines import Program, ProgramReader
from elm_rl.mutation.gp.program_tree import ProgramTextError
from elm_rl.mutation.gp.program_view import ProgramView
from elm_rl.mutation.operator import (
    FUNCTION_MESSAGE,
    PARAMETERS_MESSAGE,
    SMALL_MESSAGE,
    Child,
    MutationOperator,
    Parent,
    draw_message,
)

Edit = Callable[[ProgramView, np.random.Generator], bool]

# Odds within a family (they need not add up to 1).
EDITS: dict[str, tuple[tuple[Edit, float], ...]] = {
    FUNCTION_MESSAGE: (
        (parts.insert_muscle, 2.0),
        (parts.insert_joint, 3.0),
        (parts.duplicate_part, 1.5),
        (statements.duplicate_statement, 1.5),
        (statements.delete_statement, 1.5),
        (statements.swap_statements, 0.2),
        (statements.wrap_in_loop, 0.7),
        (statements.unroll_loop, 0.4),
        (statements.guard_statement, 0.5),
        (expressions.wrap_expression, 1.5),
        (expressions.shrink_expression, 0.7),
        (expressions.graft_expression, 0.7),
        (expressions.change_muscle, 1.0),
    ),
    PARAMETERS_MESSAGE: (
        (constants.nudge_constant, 4.0),
        (constants.nudge_statement_constants, 0.7),
        (constants.scale_role, 1.5),
    ),
    SMALL_MESSAGE: (
        (constants.nudge_constant, 1.0),
        (expressions.change_operator, 1.0),
        (expressions.change_name, 1.0),
        (expressions.change_function, 0.5),
        (expressions.change_joint, 1.0),
        (expressions.change_muscle, 1.0),
        (expressions.constant_to_name, 0.7),
    ),
}
_GROWING = frozenset(
    (
        parts.insert_muscle,
        parts.insert_joint,
        parts.duplicate_part,
        statements.duplicate_statement,
        statements.unroll_loop,
    )
)


REMEMBERED_LINES = 32_768
"""Lines of programs that an operator remembers, some 240 MB when it is full. The elites of four full maps have about as many;
with a quarter of that a child took three times as long after 70,000 evaluations (measured)."""


@cache
def _bounds(message: str, crowded: float) -> list[float]:
    """Sums of the odds of a family's edits, up to each of them; those of growing edits count ``crowded`` times."""
    return list(accumulate(odds * (crowded if edit in _GROWING else 1.0) for edit, odds in EDITS[message]))


class GPMutation(MutationOperator):
    """Mutates programs by random edits of their syntax trees. An operator serves one thread at a time.

    Args:
        more_edits: Odds that another edit follows one (families of several edits; at most ``max_edits``).
        max_edits: The most edits one child gets.
        long_program: From this many lines on, edits that add statements are tried half as often, and a quarter as often
            from twice as many on: programs stay short enough for small language models.
        attempts: How often a child is tried before giving up on a parent.
        lines: Lines of programs to remember, which saves time and changes no child; 0 remembers none.
        name: Name of the operator in records and tables.

    Raises:
        ValueError: A setting is out of range.
    """

    def __init__(
        self,
        more_edits: float = 0.4,
        max_edits: int = 3,
        long_program: int = 30,
        attempts: int = 4,
        lines: int = REMEMBERED_LINES,
        name: str = "gp",
    ) -> None:
        if not 0.0 <= more_edits < 1.0 or min(max_edits, long_program, attempts) < 1 or lines < 0:
            raise ValueError(
                "Expected 0 <= more_edits < 1, positive max_edits, long_program and attempts, and lines of 0 or more; got "
                f"{more_edits}, {max_edits}, {long_program}, {attempts}, {lines}."
            )
        self.name = name
        self._more_edits = more_edits
        self._max_edits = max_edits
        self._long_program = long_program
        self._attempts = attempts
        self._lines = lines
        self._reader = ProgramReader(lines)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_reader"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reader = ProgramReader(self._lines)  # what was remembered stays where it was

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        """Makes one child per parent, each when it is asked for.

        Args:
            parents: Admitted programs (they are parsed on the host, after their size and nesting were capped).
            rng: Source of all randomness.

        Yields:
            One child per parent, in order. A parent that is too long, too deeply nested or cannot be edited gives a
            failed child (``program=None``).
        """
        for parent in parents:
            yield self._child(parent.program, rng)

    def _child(self, parent: str, rng: np.random.Generator) -> Child:
        message = draw_message(rng)
        for _ in range(self._attempts):
            try:
                program = self._reader.read(parent)
            except ProgramTextError:
                break
            try:
                text = program.write() if self._edit(program, message, rng) else parent
            except ProgramTextError:
                continue
            finally:
                program.release()
            if text != parent:
                return Child(text, self.name, message)
        return Child(None, self.name, message)

    def _edit(self, program: Program, message: str, rng: np.random.Generator) -> bool:
        edits = 1
        if message != SMALL_MESSAGE:
            while edits < self._max_edits and rng.random() < self._more_edits:
                edits += 1
        changed = False
        for _ in range(edits):
            changed |= self._one_edit(ProgramView(program), message, rng)
        return changed

    def _one_edit(self, view: ProgramView, message: str, rng: np.random.Generator) -> bool:
        family = EDITS[message]
        length = len(view.statements)
        crowded = 1.0 if length < self._long_program else 0.5 if length < 2 * self._long_program else 0.25
        bounds = _bounds(message, crowded)
        # An edit that finds nothing to work on in this program gives way to another.
        for _ in range(2 * len(family)):
            edit = family[bisect_right(bounds, rng.random() * bounds[-1])][0]
            if edit(view, rng):
                return True
        return False
