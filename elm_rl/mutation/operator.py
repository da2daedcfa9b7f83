"""What every mutation operator looks like from outside: parents in, one :class:`Child` per parent out.

An operator is asked for children of parents (`MutationOperator.children`), and told afterwards what became of them
(`MutationOperator.learn`). What it keeps between iterations it hands to the run's checkpoint (`MutationOperator.state`).
"""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

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


NOT_APPLIED, CUT, TOO_LONG, NO_ANSWER = FAILURES = ("not_applied", "cut", "parent_too_long", "no_answer")
"""Why there is no child: the output gives no program; it was cut at a limit; the operator could not read so long a parent; a
server gave no answer."""


@dataclass(frozen=True)
class FailedAttempt:
    """A child that could not be scored, for an operator to mend.

    Attributes:
        program: The child's program text.
        error: What was wrong with it, in one sentence.
    """

    program: str
    error: str


@dataclass(frozen=True)
class Parent:
    """An elite that a child is asked of.

    Attributes:
        program: The program text. It was run in the sandbox before it was admitted.
        id: Number of its record in the run; -1 outside of runs.
        fitness: Its objective.
        measures: What places it in its archive, by name.
        archive: Name of its archive.
        terrain: Name of the terrain it was scored on.
        others: Further elites of the same archive, for operators with ``parents_per_child`` above 1.
        failed: A child of this parent that failed, if that is to be mended; only for operators that have ``repairs``.
    """

    program: str
    id: int = -1
    fitness: float = 0.0
    measures: Mapping[str, float] = field(default_factory=dict)
    archive: str = ""
    terrain: str = "Flat"
    others: tuple[Parent, ...] = ()
    failed: FailedAttempt | None = None


@dataclass(frozen=True)
class Child:
    """What became of one parent.

    Attributes:
        program: The child's program text; None when nothing usable came out.
        operator: Name of the operator that made it.
        message: The commit message, one of :data:`COMMIT_MESSAGES`.
        diff: The patch as the operator wrote it, for operators that write patches.
        failure: What went wrong where ``program`` is None, as it is counted among a run's errors: one of :data:`FAILURES`.
        prompt: Where the run directory keeps the request and its reply, for operators that ask a server.
        cost: What it cost, in the currency of the prices given; 0 for operators that run here.
    """

    program: str | None
    operator: str
    message: str
    diff: str | None = None
    failure: str = NOT_APPLIED
    prompt: str | None = None
    cost: float = 0.0

    @property
    def applied(self) -> bool:
        """Whether the operator's output could be turned into a program."""
        return self.program is not None


@dataclass(frozen=True)
class Outcome:
    """What became of a child in the run.

    Attributes:
        parent: The parent, as the operator was given it.
        child: The child.
        error: Kind of the error that stopped it (a failure of the operator, or of its program); None for a scored child.
        explanation: The error in one sentence; empty without one.
        fitness: Its objective, if it was scored. With a robust objective, of a child that could not be admitted for its plain
            distance either, that distance.
        measures: What places it in the archive, if it was scored.
        admitted: Whether an archive took it.
        gain: How much that raised the QD score of the archive; 0 if it was not taken.
    """

    parent: Parent
    child: Child
    error: str | None = None
    explanation: str = ""
    fitness: float | None = None
    measures: Mapping[str, float] = field(default_factory=dict)
    admitted: bool = False
    gain: float = 0.0


class MutationOperator(ABC):
    """Anything that makes children of programs.

    Attributes:
        name: Its name in logs and tables.
        parents_per_child: How many elites it combines; all but the first come as ``Parent.others``.
        repairs: Whether it takes parents with a ``failed`` child.
        ahead: Whether its children are made one iteration ahead, in a thread of their own, while others are evaluated: for
            operators that are slow. Their parents are then elites of one iteration before.
        tries: How many children it makes of a parent, of which one is evaluated (`elm_rl.evolution.screening`).
        concurrency: For operators that wait for a server: how many threads may call ``child`` at once. 0 for all others.
    """

    name: str
    parents_per_child: int = 1
    repairs: bool = False
    ahead: bool = False
    concurrency: int = 0
    _under_way: threading.Event | None = None
    tries: int = 1

    @abstractmethod
    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        """Makes exactly one child per parent, in the same order, each when it is asked for; all randomness from ``rng``.

        What the operator has learnt is read when this is called, and not later: it may be told more while the children are
        being made in another thread.
        """

    def mutate(self, parents: Sequence[Parent], rng: np.random.Generator) -> list[Child]:
        """All of ``children`` at once."""
        return list(self.children(parents, rng))

    def open(self, folder: Path, replay: Path | None = None) -> None:  # noqa: B027 - most operators leave no files
        """Before the first child of a run: where the operator may keep files, and which other run's to read instead of asking.

        Args:
            folder: The run directory.
            replay: A run whose replies are taken instead of asking a server.
        """

    def check_parents(self, programs: Sequence[str]) -> None:  # noqa: B027 - most operators read any program
        """Before a run begins: raises ElmError when the operator could read none of ``programs``."""

    def check_terrains(self, texts: Sequence[str]) -> None:  # noqa: B027 - most operators look at programs alone
        """Before a run begins: raises ElmError when the operator cannot work for the terrains that ``texts`` name."""

    def learn(self, outcomes: Sequence[Outcome]) -> None:  # noqa: B027 - most operators do not learn
        """Told after each iteration what became of this operator's children, in their order."""

    def state(self) -> dict[str, Any]:
        """What the operator has learnt, as JSON can hold it; part of every checkpoint."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Takes back what ``state`` gave."""

    def totals(self) -> dict[str, Any]:
        """What it has asked and spent in the run, for the summary; empty for operators that cost nothing."""
        return {}

    def close(self) -> None:
        """Gives back processes and connections, and ends children under way; the operator may be used again."""
        if self._under_way is not None:
            self._under_way.set()

    def _begin(self) -> Callable[[], bool]:
        """To be called by ``children`` where these take long; what comes back tells whether they are to end."""
        self._under_way = threading.Event()
        return self._under_way.is_set


def parents_of(programs: Sequence[str]) -> list[Parent]:
    """Parents that are nothing but their programs, outside of a run."""
    return [Parent(program) for program in programs]


def draw_message(rng: np.random.Generator) -> str:
    """Draws a commit message by the odds of :data:`COMMIT_MESSAGES`."""
    point = rng.random()
    for message, odds in COMMIT_MESSAGES:
        point -= odds
        if point < 0.0:
            return message
    return COMMIT_MESSAGES[-1][0]
