"""Every request and reply of a run in its directory: nothing is paid for twice, and budgets hold.

A ledger is a file of JSON lines, which `pandas.read_json(path, lines=True)` opens. ``kind`` says what a line is:

- ``asked``: a request is about to be sent: its ``key``, what is sent (``body``), and its ``nonce``;
- ``failed``: an attempt failed: why (``reason``), its tokens, whether it was the ``last``;
- ``replied``: what the request came to: ``status``, the answer (``text``), its tokens;
- ``checked``: tokens of the question that a run begins with.

A run that was killed and goes on, and one that replays it, draw the same nonces, ask the same questions and find the replies by
their keys.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from elm_rl.errors import BudgetSpent, ElmError
from elm_rl.mutation.api.exchange import ANSWERED, Reply, Request, Usage
from elm_rl.mutation.api.ledger_file import (
    ASKED,
    CHECKED,
    FAILED,
    REPLIED,
    LedgerWriter,
    Place,
    ledger_lines,
)


@dataclass(frozen=True)
class Terms:
    """What tokens cost, and how much may be spent.

    Attributes:
        price_in: Price of a million tokens of requests, in any currency.
        price_out: Price of a million tokens of answers.
        max_cost: Budget in that currency; None for no limit.
        max_tokens: Budget in tokens, of requests and answers together; None for no limit.
    """

    price_in: float = 0.0
    price_out: float = 0.0
    max_cost: float | None = None
    max_tokens: int | None = None

    def cost(self, usage: Usage) -> float:
        """What tokens cost."""
        return (usage.prompt * self.price_in + usage.completion * self.price_out) / 1e6


class Paid(NamedTuple):
    """A reply, and what all attempts at it cost."""

    reply: Reply
    cost: float


class Ledger:
    """The requests of one operator. Many threads may use it.

    Args:
        name: The operator's name.
        terms: Prices and budgets.
        path: The file; None to keep no more than the totals, outside of runs.
        replay: Ledgers of another run, in which every reply must be found.

    Raises:
        ElmError: A ledger cannot be read or written.
    """

    def __init__(self, name: str, terms: Terms, path: Path | None = None, replay: Sequence[Path] = ()) -> None:
        self._name = name
        self._terms = terms
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._spent = Usage()
        self._unanswered: dict[str, int] = {}  # keys of requests under way, with about how many tokens they have
        self._places: dict[str, list[Place]] = {}
        self._recorded: dict[str, list[Place]] | None = {} if replay else None
        for source in replay:
            for place, record in ledger_lines(source):
                self._recorded_places(record).append(place)
        self._writer = None if path is None else LedgerWriter(path)
        if path is not None:
            for place, record in ledger_lines(path):
                self._count(record)
                self._places.setdefault(record.get("key", ""), []).append(place)
            for key in list(self._unanswered):  # a kill came before the reply
                self._lose(key)
            if not self._counts[CHECKED]:
                # The first question of the run that is replayed: its budget paid for that too.
                for source in replay:
                    if source.name == path.name:
                        for _, record in ledger_lines(source):
                            if record["kind"] == CHECKED:
                                self._keep(record)

    def find(self, request: Request) -> Paid | None:
        """The reply to a request that was asked before, in this run or the one that is replayed.

        Raises:
            BudgetSpent: There is none, and the budget allows no further request.
            ElmError: There is none, and this is a replay.
        """
        key = request.key
        with self._lock:
            found = self._paid(place.read() for place in self._places.get(key, []))
            if found is None and self._recorded is not None:
                lines = [place.read() for place in self._recorded.get(key, [])]
                found = self._paid(lines)
                for line in lines if found else []:  # so that this run has the same totals, and can be replayed itself
                    self._keep(line)
            if found is None:
                self._check_budget()
                if self._recorded is not None:
                    raise ElmError(
                        f"The operator '{self._name}' asks what the replayed run never asked (request {key}); replay it with "
                        "the same settings, seed and version, in a new folder."
                    )
            return found

    def asked(self, request: Request) -> None:
        """Keeps a request that is about to be sent."""
        body, tokens = dict(request.body), request.estimated_tokens
        with self._lock:
            self._keep({"kind": ASKED, "key": request.key, "time": time.time(), "nonce": request.nonce, "body": body,
                        "estimated_tokens": tokens})  # fmt: skip

    def failed(self, request: Request, reason: str, usage: Usage, *, last: bool = False) -> float:
        """Keeps an attempt that failed, and returns what it cost. After the ``last`` one there is no reply to come."""
        with self._lock:
            self._keep({"kind": FAILED, "key": request.key, "time": time.time(), "reason": reason, "last": last,
                        **usage._asdict()})  # fmt: skip
        return self._terms.cost(usage)

    def replied(self, request: Request, reply: Reply) -> float:
        """Keeps what a request came to, and returns what the last attempt cost."""
        with self._lock:
            self._keep({"kind": REPLIED, "key": request.key, "time": time.time(), "status": reply.status,
                        "text": reply.text, "ended": reply.ended, "reason": reply.reason,
                        **reply.usage._asdict()})  # fmt: skip
        return self._terms.cost(reply.usage)

    def checked(self, usage: Usage) -> None:
        """Keeps what the first question cost."""
        with self._lock:
            self._keep({"kind": CHECKED, "time": time.time(), **usage._asdict()})

    def totals(self) -> dict[str, Any]:
        """Requests, answers, failed attempts, tokens of requests and answers, and what they cost.

        A request that a kill left without a reply counts with the estimated tokens of its messages.
        """
        with self._lock:
            return {
                "requests": self._counts[ASKED],
                "answers": self._counts[ANSWERED],
                "failed_attempts": self._counts[FAILED],
                "prompt_tokens": self._spent.prompt,
                "completion_tokens": self._spent.completion,
                "cost": self._terms.cost(self._spent),
            }

    def _recorded_places(self, record: Mapping[str, Any]) -> list[Place]:
        assert self._recorded is not None
        return self._recorded.setdefault(record.get("key", ""), [])

    def _keep(self, record: Mapping[str, Any]) -> None:
        if self._writer is not None:
            self._places.setdefault(record.get("key", ""), []).append(self._writer.append(record))
        self._count(record)

    def _count(self, record: Mapping[str, Any]) -> None:
        kind, key = record["kind"], record.get("key", "")
        self._counts[kind] += 1
        if kind == ASKED:
            if key in self._unanswered:  # and is asked again
                self._lose(key)
            self._unanswered[key] = record["estimated_tokens"]
            return
        self._spend(Usage(record["prompt"], record["completion"], record["estimated"]))
        if kind == REPLIED:
            self._counts[record["status"]] += 1
        if kind == REPLIED or record.get("last"):
            self._unanswered.pop(key, None)

    def _lose(self, key: str) -> None:
        """Counts a request whose reply never came."""
        self._spend(Usage(self._unanswered.pop(key), 0, True))

    def _spend(self, usage: Usage) -> None:
        spent = self._spent
        self._spent = Usage(
            spent.prompt + usage.prompt, spent.completion + usage.completion, spent.estimated or usage.estimated
        )

    def _check_budget(self) -> None:
        """Raises BudgetSpent where the tokens or the money are used up."""
        terms, tokens, cost = self._terms, self._spent.prompt + self._spent.completion, self._terms.cost(self._spent)
        if terms.max_tokens is not None and tokens >= terms.max_tokens:
            raise BudgetSpent(
                f"The operator '{self._name}' has used {tokens:,} of max_total_tokens={terms.max_tokens:,} tokens; to go on, "
                "raise it and continue with --resume."
            )
        if terms.max_cost is not None and cost >= terms.max_cost:
            raise BudgetSpent(
                f"The operator '{self._name}' has spent {cost:.4g} of max_cost={terms.max_cost:g}; to go on, raise it and "
                "continue with --resume."
            )

    def _paid(self, lines: Iterable[Mapping[str, Any]]) -> Paid | None:
        """The reply among the lines of one request, with the cost of all attempts; None where it has none."""
        cost = 0.0
        for line in lines:
            if line["kind"] == ASKED:
                continue
            usage = Usage(line["prompt"], line["completion"], line["estimated"])
            cost += self._terms.cost(usage)
            if line["kind"] == REPLIED:
                return Paid(Reply(line["status"], line["text"], line["ended"], usage, line["reason"]), cost)
        return None
