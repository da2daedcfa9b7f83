"""What a run has under way between two iterations: children planned, requests to servers, failed children to be mended.

It is part of every checkpoint, as numbers of records: a resumed run makes the same children of the same parents.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from elm_rl.evolution.maps import with_others
from elm_rl.mutation.operator import FailedAttempt, Parent


@dataclass
class Plan:
    """Who makes the children of one iteration.

    Attributes:
        iteration: Which.
        terrain: The terrain that its new children are for.
        operators: Name of the operator of each slot.
        archives: Name of the archive of each slot.
        parents: Parents of the slots whose operators work one iteration ahead; those of all others are drawn when their
            iteration begins.
    """

    iteration: int
    terrain: str
    operators: list[str]
    archives: list[str]
    parents: dict[int, Parent] = field(default_factory=dict)


@dataclass(frozen=True)
class Request:
    """A child that a server was asked for, which joins the iteration in which it arrives.

    Attributes:
        ticket: ``iteration.slot`` of the asking, by which logs name it.
        operator: Name of the operator.
        parent: Of whom.
    """

    ticket: str
    operator: str
    parent: Parent

    @property
    def iteration(self) -> int:
        """The iteration of the asking."""
        return int(self.ticket.partition(".")[0])

    @property
    def slot(self) -> int:
        """The slot of the asking."""
        return int(self.ticket.partition(".")[2])


class Pending:
    """Everything under way.

    Attributes:
        plan: The next iteration's; None before the first.
        requests: What servers were asked and have not answered, or whose answers no iteration has taken yet, in order.
        failed: By operator: parents whose failed children are to be mended, oldest first.
        snapshots: By operator and iteration: what it had learnt when it began what is still under way.
    """

    def __init__(self) -> None:
        self.plan: Plan | None = None
        self.requests: list[Request] = []
        self.failed: dict[str, list[Parent]] = {}
        self.snapshots: dict[str, dict[int, dict[str, Any]]] = {}

    def take_failed(self, operator: str, archive: str) -> Parent | None:
        """The oldest failed attempt of an operator in an archive, which is then no longer pending."""
        waiting = self.failed.get(operator, [])
        for index, parent in enumerate(waiting):
            if parent.archive == archive:
                return waiting.pop(index)
        return None

    def forget_snapshots(self) -> None:
        """Drops what was learnt before everything that is under way."""
        needed = {(request.operator, request.iteration) for request in self.requests}
        if self.plan is not None:
            needed |= {(name, self.plan.iteration - 1) for name in self.plan.operators}
        for name, states in self.snapshots.items():
            for iteration in list(states):
                if (name, iteration) not in needed:
                    del states[iteration]

    def state(self) -> dict[str, Any]:
        """All of it as JSON holds it, with parents as numbers of their records."""
        plan = self.plan and {
            "iteration": self.plan.iteration,
            "terrain": self.plan.terrain,
            "operators": self.plan.operators,
            "archives": self.plan.archives,
            "parents": {str(slot): _parent_state(parent) for slot, parent in self.plan.parents.items()},
        }
        return {
            "plan": plan,
            "requests": [[r.ticket, r.operator, _parent_state(r.parent)] for r in self.requests],
            "failed": {name: [_parent_state(parent) for parent in parents] for name, parents in self.failed.items()},
            "snapshots": {
                name: {str(number): state for number, state in states.items()}
                for name, states in self.snapshots.items()
            },
        }

    def restore(self, state: Mapping[str, Any], parent_of: Callable[[int], Parent]) -> None:
        """Takes back what `state` gave; ``parent_of`` gives the parent of a record's number."""

        def parent(value: Mapping[str, Any]) -> Parent:
            found = with_others([parent_of(identity) for identity in value["ids"]])
            return found if value["failed"] is None else replace(found, failed=FailedAttempt(*value["failed"]))

        plan = state["plan"]
        self.plan = plan and Plan(
            plan["iteration"],
            plan["terrain"],
            list(plan["operators"]),
            list(plan["archives"]),
            {int(slot): parent(value) for slot, value in plan["parents"].items()},
        )
        self.requests = [Request(ticket, operator, parent(value)) for ticket, operator, value in state["requests"]]
        self.failed = {name: [parent(value) for value in values] for name, values in state["failed"].items()}
        self.snapshots = {
            name: {int(number): kept for number, kept in states.items()} for name, states in state["snapshots"].items()
        }


def _parent_state(parent: Parent) -> dict[str, Any]:
    failed = parent.failed and [parent.failed.program, parent.failed.error]
    return {"ids": [parent.id, *(other.id for other in parent.others)], "failed": failed}
