"""What every mutation operator looks like from outside: parents in, one :class:`Child` per parent out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

FUNCTION_MESSAGE = "Change the make_walker function."
PARAMETERS_MESSAGE = "Change parameters in make_walker."
SMALL_MESSAGE = "Make a small change to make_walker."

# The paper's three kinds of commit message and their odds (section on the ELM experiments), in our wording. Every
# operator speaks only these, so that what one operator's children teach a model, a prompt can ask for.
COMMIT_MESSAGES: tuple[tuple[str, float], ...] = (
    (FUNCTION_MESSAGE, 0.4),
    (PARAMETERS_MESSAGE, 0.3),
    (SMALL_MESSAGE, 0.3),
)


NOT_APPLIED, CUT, TOO_LONG = FAILURES = ("not_applied", "cut", "parent_too_long")
"""Why there is no child: the output gives no program; it was cut at a limit; the operator could not read so long a parent."""


@dataclass(frozen=True)
class Child:
    """What became of one parent.

    Attributes:
        program: The child's program text; None when nothing usable came out.
        operator: Name of the operator that made it.
        message: The commit message, one of :data:`COMMIT_MESSAGES`.
        diff: The patch as the operator wrote it, for operators that write patches.
        applied: Whether the operator's output could be turned into a program; False exactly when ``program`` is None.
        failure: What went wrong where ``program`` is None, as it is counted among a run's errors.
    """

    program: str | None
    operator: str
    message: str
    diff: str | None = None
    applied: bool = True
    failure: str = NOT_APPLIED


class MutationOperator(Protocol):
    """Anything that makes children of programs."""

    name: str

    def mutate(self, parents: Sequence[str], rng: np.random.Generator) -> list[Child]:
        """Makes exactly one child per parent, in the same order, all randomness from ``rng``."""
        ...


@runtime_checkable
class ParentReader(Protocol):
    """An operator that cannot read every program, and says so before a run begins."""

    def check_parents(self, programs: Sequence[str]) -> None:
        """Raises ElmError when it could read none of ``programs``."""
        ...


@runtime_checkable
class LazyMutationOperator(MutationOperator, Protocol):
    """An operator that makes its children one by one: the first can be evaluated while the next are made."""

    def children(self, parents: Sequence[str], rng: np.random.Generator) -> Iterator[Child]:
        """Makes the children that ``mutate`` makes, each when it is asked for."""
        ...


def draw_message(rng: np.random.Generator) -> str:
    """Draws a commit message by the odds of :data:`COMMIT_MESSAGES`."""
    point = rng.random()
    for message, odds in COMMIT_MESSAGES:
        point -= odds
        if point < 0.0:
            return message
    return COMMIT_MESSAGES[-1][0]
