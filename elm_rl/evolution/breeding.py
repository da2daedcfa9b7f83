"""The children of an iteration: who their parents and operators are, and the children themselves as they are asked for.

Operators work in one of three ways. Most make their children when the iteration asks for them. Slow ones (``ahead``) make those
of the next iteration in a thread, while this one's are evaluated. Servers (``concurrency``) have requests under way at all
times, and an answer joins the iteration in which it arrives: a slow server never holds the others up, and a fast one gets no
more requests than its slots. Where servers are all there is, an iteration waits for its children.

Every random choice has a generator of its own, made from the run's seed, the iteration and what is chosen: so the threads and
the order in which they end change nothing.
"""

from __future__ import annotations

import sys
import time
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

import numpy as np

from elm_rl.errors import ElmError
from elm_rl.evolution.bandit import divide
from elm_rl.evolution.pending import Plan, Request
from elm_rl.evolution.screening import Birth, Screening
from elm_rl.evolution.settings import EvolveConfig
from elm_rl.evolution.state import EvolutionState
from elm_rl.mutation.operator import Child, MutationOperator, Parent


def generator(seed: int, *purpose: int | str) -> np.random.Generator:
    """The generator of one random choice of a run."""
    numbers = [zlib.crc32(part.encode()) if isinstance(part, str) else part for part in purpose]
    return np.random.default_rng([seed, *numbers])


def _as_many_threads_of_torch() -> tuple[Callable[[int], None], tuple[int]] | tuple[()]:
    """How a thread begins in which a model may compute: with as many threads of torch's as this one has.

    It would else take over what another operator, in a thread of its own, had set when it began.
    """
    torch = sys.modules.get("torch")
    return (torch.set_num_threads, (torch.get_num_threads(),)) if torch is not None else ()


class Breeding:
    """Makes the children of one iteration after another; a context manager that ends its threads.

    Args:
        state: The run's state; what is under way is kept there.
        operators: The operators of the phase.
        config: The run's settings: seed, batch size, how parents are drawn, shares of the operators.
        arrivals: For a replay: which tickets arrive in which iteration.

    Attributes:
        screening: Chooses among the children of operators that make several of a parent.
        seconds: By operator: time spent on making children since it was last asked.
    """

    def __init__(
        self,
        state: EvolutionState,
        operators: Sequence[MutationOperator],
        config: EvolveConfig,
        arrivals: Mapping[int, Sequence[str]] | None = None,
    ) -> None:
        self._state = state
        self._operators = {operator.name: operator for operator in operators}
        self._config = config
        self._seed = config.seed
        self._batch_size = config.batch_size
        self._fixed = config.fixed_shares()
        self._arrivals = arrivals
        served = [name for name, each in self._operators.items() if each.concurrency and not each.ahead]
        # Where nothing else is there to do, an iteration may as well wait.
        self._served = served if len(served) < len(operators) else []
        # Of an operator that worked otherwise before the run was stopped, requests may be left.
        asked = {request.operator for request in state.pending.requests}
        self._threads = {
            name: ThreadPoolExecutor(
                max(each.concurrency, 1) if name in self._served else 1,
                f"operator {name}",
                *(_as_many_threads_of_torch() if each.ahead else ()),  # threads of servers compute nothing
            )
            for name, each in self._operators.items()
            if each.ahead or name in self._served or name in asked
        }
        self._made: dict[tuple[int, str], Future[list[Child]]] = {}
        self._answers: dict[str, Future[Child]] = {}
        self._over = False
        self.screening = Screening(state)
        self.seconds = dict.fromkeys(self._operators, 0.0)

    def __enter__(self) -> Breeding:
        pending = self._state.pending
        if pending.plan is not None and any(
            self._operators[name].ahead and slot not in pending.plan.parents
            for slot, name in enumerate(pending.plan.operators)
            if name in self._operators
        ):
            pending.plan = None  # made when an operator did not work ahead yet
        for name, operator in self._operators.items():
            for request in (request for request in pending.requests if request.operator == name):
                operator.restore(self._snapshot(name, request.iteration))
                self._ask(request)
            if pending.plan is not None and operator.ahead:
                operator.restore(self._snapshot(name, pending.plan.iteration - 1))
                self._begin(name, pending.plan)
            operator.restore(self._state.learnt.get(name, {}))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over = True
        self.screening.close()
        for threads in self._threads.values():
            threads.shutdown(wait=False, cancel_futures=True)

    def _snapshot(self, name: str, iteration: int) -> Mapping[str, object]:
        return self._state.pending.snapshots.get(name, {}).get(iteration, {})

    def prepare(self, iteration: int, terrain: str, begin: bool = True) -> None:
        """Plans an iteration on a terrain, and has the operators that work ahead begin with it, unless told not to."""
        pending = self._state.pending
        names = list(self._operators)
        archives = [name for name, ground in self._state.maps.terrains.items() if ground == terrain]
        # The batch need not divide by the number of archives: the next iteration begins where this one stopped.
        first = (iteration - 1) * self._batch_size
        shares = divide(self._fixed, self._state.bandit.shares())
        chosen = generator(self._seed, iteration, "operators").choice(len(names), size=self._batch_size, p=shares)
        plan = Plan(
            iteration,
            terrain,
            [names[index] for index in chosen],
            [archives[(first + slot) % len(archives)] for slot in range(self._batch_size)],
        )
        pending.plan = plan
        for name, operator in self._operators.items():
            if operator.ahead:
                slots = [slot for slot, each in enumerate(plan.operators) if each == name]
                plan.parents.update(self._parents(plan, name, slots))
                self._keep_snapshot(name, iteration - 1)
                if begin:
                    self._begin(name, plan)

    def _keep_snapshot(self, name: str, iteration: int) -> None:
        if learnt := self._operators[name].state():
            self._state.pending.snapshots.setdefault(name, {})[iteration] = learnt

    def _parents(self, plan: Plan, name: str, slots: Sequence[int]) -> dict[int, Parent]:
        """Parents for slots of one operator: failed attempts that wait to be mended first, elites for the rest."""
        operator, found = self._operators[name], dict[int, Parent]()
        if operator.repairs:
            for slot in slots:
                if (parent := self._state.pending.take_failed(name, plan.archives[slot])) is not None:
                    found[slot] = parent
        for archive in self._state.maps.archives:
            rest = [slot for slot in slots if plan.archives[slot] == archive and slot not in found]
            if rest:
                rng = generator(self._seed, plan.iteration, "parents", name, archive)
                others = operator.parents_per_child - 1
                drawn = self._state.maps.draw(
                    archive,
                    len(rest),
                    others,
                    rng,
                    tournament=self._config.tournament,
                    uniform=self._config.uniform,
                )
                found.update(zip(rest, drawn, strict=True))
        return found

    def _begin(self, name: str, plan: Plan) -> None:
        """Has an operator that works ahead make its children of a plan."""
        tries = self._operators[name].tries
        slots = [slot for slot, each in enumerate(plan.operators) if each == name]
        parents = [plan.parents[slot] for slot in slots for _ in range(tries)]
        rng = generator(self._seed, plan.iteration, "children", name)
        # Called here and now: what it has learnt until now is what it works with.
        children = self._operators[name].children(parents, rng)
        self._made[plan.iteration, name] = self._threads[name].submit(self._take_all, name, children)

    def _take_all(self, name: str, children: Iterator[Child]) -> list[Child]:
        start = time.perf_counter()
        made: list[Child] = []
        for child in children:
            made.append(child)
            if self._over:  # nobody will ask for the rest
                break
        self.seconds[name] += time.perf_counter() - start
        return made

    def _ask(self, request: Request) -> None:
        """Has a server's operator make a child."""
        rng = generator(self._seed, request.iteration, "children", request.operator, request.slot)
        children = self._operators[request.operator].children([request.parent], rng)
        threads = self._threads[request.operator]
        self._answers[request.ticket] = threads.submit(lambda: self._take_all(request.operator, children)[0])

    def births(self, plan: Plan) -> Iterator[Birth]:
        """The children of an iteration: answers that have arrived, then those made now, then those made ahead."""
        operators = self._with_requests(plan)
        self.screening.begin()
        yield from self._arrived(plan.iteration)
        ordered = sorted(self._operators, key=lambda name: self._operators[name].ahead)
        for name in ordered:
            slots = [slot for slot, each in enumerate(operators) if each == name]
            if not slots or name in self._served:
                continue
            operator = self._operators[name]
            if operator.ahead:
                parents = [plan.parents[slot] for slot in slots for _ in range(operator.tries)]
                children = iter(self._made.pop((plan.iteration, name)).result())
            else:
                drawn = self._parents(plan, name, slots)
                parents = [drawn[slot] for slot in slots for _ in range(operator.tries)]
                children = operator.children(parents, generator(self._seed, plan.iteration, "children", name))
            births = self._counted(name, parents, children)
            yield from births if operator.tries == 1 else self.screening.choose(births, operator.tries)

    def _with_requests(self, plan: Plan) -> list[str]:
        """Sends requests for the servers' slots as far as there is room, and gives the other slots to the other operators."""
        operators = list(plan.operators)
        pending = self._state.pending
        for name in self._served:
            slots = [slot for slot, each in enumerate(operators) if each == name]
            room = self._operators[name].concurrency - sum(each.operator == name for each in pending.requests)
            asked, left = slots[: max(room, 0)], slots[max(room, 0) :]
            if asked:
                self._keep_snapshot(name, plan.iteration)
            for slot, parent in self._parents(plan, name, asked).items():
                pending.requests.append(Request(f"{plan.iteration}.{slot}", name, parent))
                self._ask(pending.requests[-1])
            others = [each for each in self._operators if each not in self._served and not self._operators[each].ahead]
            for slot in left:
                # Operators that work ahead have begun: what nobody else can take is left out.
                operators[slot] = others[slot % len(others)] if others else ""
        return operators

    def _arrived(self, iteration: int) -> Iterator[Birth]:
        pending = self._state.pending
        if self._arrivals is None:
            tickets = [each.ticket for each in pending.requests if self._answers[each.ticket].done()]
        else:
            tickets = list(self._arrivals.get(iteration, ()))
        requests = {each.ticket: each for each in pending.requests}
        if unknown := [ticket for ticket in tickets if ticket not in requests]:
            raise ElmError(
                f"The run to replay has an answer to request {unknown[0]} in iteration {iteration}, which this run has not "
                "asked; replay it with the same settings."
            )
        for ticket in tickets:
            child = self._answers.pop(ticket).result()
            pending.requests.remove(requests[ticket])
            yield Birth(requests[ticket].parent, child, ticket)

    def _counted(self, name: str, parents: Sequence[Parent], children: Iterator[Child]) -> Iterator[Birth]:
        """The children of one operator with their parents.

        Raises:
            ElmError: There are more or fewer than parents.
        """
        made = 0
        start = time.perf_counter()
        for child in children:
            made += 1
            if made > len(parents):
                break
            self.seconds[name] += time.perf_counter() - start
            yield Birth(parents[made - 1], child)
            start = time.perf_counter()
        if made != len(parents):
            raise ElmError(
                f"The operator '{name}' gave {made} children of {len(parents)} parents; expected one of each, in order, with "
                "program=None where it made none."
            )
