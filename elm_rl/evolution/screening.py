"""Which of several children of one parent is worth an evaluation: the one whose niche has the most room.

Height, width and mass of a walker are known as soon as its program has run, before it has walked a step. So an operator may
make several children of a parent (`MutationOperator.tries`): their programs are run, and one of them is evaluated. Of those
whose walkers the run has not met it is the one whose niche holds the least: if it walks about as far as its parent, it gains
the most there. The others are no evaluations, and leave no trace but a count.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple, Protocol

from elm_rl.evolution.maps import Maps
from elm_rl.mutation.operator import Child, Parent
from sodarace_gym.errors import ProgramError
from sodarace_gym.evaluation import Evaluation
from sodarace_gym.programs.program import CompiledProgram, compile_programs
from sodarace_gym.programs.sandbox import Sandbox
from sodarace_gym.walkers.walker import WalkerDesign


class Birth(NamedTuple):
    """A child with where it comes from.

    Attributes:
        parent: The parent it was asked of.
        child: The child.
        ticket: Its request's where a server was asked.
        compiled: Its program, where it has been run already.
    """

    parent: Parent
    child: Child
    ticket: str | None = None
    compiled: CompiledProgram | None = None


class KnownWalkers(Protocol):
    """What a run has met; `elm_rl.evolution.state.EvolutionState` is one.

    Attributes:
        maps: Its archives.
    """

    maps: Maps

    def key_of(self, design: WalkerDesign, terrain: str) -> bytes:
        """A walker on a terrain, as a key."""

    def knows(self, key: bytes) -> bool:
        """Whether the run has met it."""


class Screening:
    """Chooses among children.

    Args:
        state: What the run has met and what its niches hold; it is not changed.

    Attributes:
        passed_over: Children of the iteration that were made and not chosen.
    """

    def __init__(self, state: KnownWalkers) -> None:
        self._state = state
        # Its own interpreters: those of the evaluator wait for the children that are chosen here.
        self._sandbox: Sandbox | None = None
        self._chosen: set[bytes] = set()
        self.passed_over = 0

    def close(self) -> None:
        """Ends the interpreters."""
        if self._sandbox is not None:
            self._sandbox.close()

    def begin(self) -> None:
        """Forgets what was chosen in the last iteration: the run knows it by now."""
        self._chosen.clear()
        self.passed_over = 0

    def choose(self, births: Iterator[Birth], tries: int) -> Iterator[Birth]:
        """One child of each parent.

        Args:
            births: The children; ``tries`` of each parent in a row.
            tries: How many.

        Yields:
            For each parent, in order, the child to evaluate; the first that was made, where none is a walker that is new.
        """
        if self._sandbox is None:
            self._sandbox = Sandbox()
        waiting: deque[Birth] = deque()

        def programs() -> Iterator[str]:
            for birth in births:
                waiting.append(birth)
                yield birth.child.program or ""

        group: list[Birth] = []
        for built in compile_programs(programs(), self._sandbox):
            birth = waiting.popleft()
            if not isinstance(built, ProgramError):
                birth = birth._replace(compiled=CompiledProgram(birth.child.program or "", *built))
            group.append(birth)
            if len(group) == tries:
                yield self._best(group)
                self.passed_over += tries - 1
                group = []

    def _best(self, group: list[Birth]) -> Birth:
        best, room, key = group[0], float("-inf"), None
        for birth in group:
            if birth.compiled is None:
                continue
            design = birth.compiled.design
            digest = self._state.key_of(design, birth.parent.terrain)
            if digest in self._chosen or self._state.knows(digest):
                continue
            walker = Evaluation(height=design.height, width=design.width, mass=design.mass, design=design)
            found = birth.parent.fitness - self._state.maps.held(birth.parent.archive, walker)
            if found > room:
                best, room, key = birth, found, digest
        if key is not None:
            self._chosen.add(key)
        return best
