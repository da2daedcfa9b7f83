"""The children of one iteration: who their parents and operators are, and the children themselves as they are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from elm_rl.errors import ElmError
from elm_rl.evolution.state import EvolutionState
from elm_rl.mutation.operator import Child, MutationOperator, Parent
from sodarace_gym.evaluation.evaluator import Evaluation


class Birth(NamedTuple):
    """A child with where it comes from: the archive and record id of its parent, and the name of its operator."""

    archive: str
    parent: int
    operator: str
    child: Child


class Brood:
    """The children of one iteration. Parents and operators are drawn at once; children are made when they are asked for.

    The operators make their children one after the other: what is drawn from
    the run's generator does not depend on who evaluates, or when.

    Attributes:
        seconds: Time spent on making children so far.
    """

    def __init__(
        self, state: EvolutionState, batch_size: int, operators: Sequence[MutationOperator], shares: Sequence[float]
    ) -> None:
        names = list(state.archives)
        # The batch need not divide by the number of archives: the next iteration begins where this one stopped.
        first = (state.iteration - 1) * batch_size
        self._archives = [names[(first + slot) % len(names)] for slot in range(batch_size)]
        self._parents: list[Parent] = [Parent("")] * batch_size
        for name in names:
            elites = state.archives[name].data(["id", "solution"])
            slots = [slot for slot in range(batch_size) if self._archives[slot] == name]
            for slot, drawn in zip(slots, state.rng.integers(len(elites["id"]), size=len(slots)), strict=True):
                self._parents[slot] = Parent(elites["solution"][drawn], id=int(elites["id"][drawn]), archive=name)
        self._choices = state.rng.choice(len(operators), size=batch_size, p=shares)
        self._operators = operators
        self._rng = state.rng
        self._children: dict[int, Child] = {}
        self._usable: list[int] = []
        self.seconds = 0.0

    def programs(self) -> Iterator[str]:
        """Makes the children; those that are programs are handed out, in the order in which they are made."""
        for number, operator in enumerate(self._operators):
            slots = [slot for slot, choice in enumerate(self._choices) if choice == number]
            parents = [self._parents[slot] for slot in slots]
            for slot, child in zip(slots, self._made(operator, parents), strict=True):
                self._children[slot] = child
                if child.program is not None:
                    self._usable.append(slot)
                    yield child.program

    def _made(self, operator: MutationOperator, parents: list[Parent]) -> Iterator[Child]:
        """The children of one operator, one of each parent.

        Raises:
            ElmError: the operator makes more or fewer.
        """
        if not parents:
            return
        start = time.perf_counter()
        made = 0
        for child in operator.children(parents, self._rng):
            made += 1
            if made > len(parents):
                break
            self.seconds += time.perf_counter() - start
            yield child
            start = time.perf_counter()
        if made != len(parents):
            raise ElmError(
                f"The operator '{operator.name}' gave {made} children of {len(parents)} parents; expected one of each, in "
                "order, with program=None where it made none."
            )

    def evaluated(self, evaluations: Sequence[Evaluation]) -> list[tuple[Birth, Evaluation | None]]:
        """The births in the order of the batch, each with the evaluation of its program, if it is one."""
        found = dict(zip(self._usable, evaluations, strict=True))
        return [
            (
                Birth(archive, self._parents[slot].id, self._operators[self._choices[slot]].name, self._children[slot]),
                found.get(slot),
            )
            for slot, archive in enumerate(self._archives)
        ]
