"""A model on a server as mutation operator: many requests at a time, each kept, paid for once, within a budget."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from elm_rl.errors import ConfigError, ElmError
from elm_rl.mutation.api.client import ServedModel, ServerRefusal
from elm_rl.mutation.api.connection import closed_error
from elm_rl.mutation.api.exchange import ANSWERED, NO_ANSWER, NOTHING, Reply, Request, Trouble
from elm_rl.mutation.api.ledger import Ledger, Paid
from elm_rl.mutation.api.ledger_file import ledger_path, recorded_ledgers
from elm_rl.mutation.api.options import ServedOptions, read_source
from elm_rl.mutation.memory import Memory, RememberingMutation
from elm_rl.mutation.operator import Child, Parent, draw_message
from elm_rl.mutation.prompts import chat_messages, patched_text, read_answer

ROOM_TOKENS = 256
"""How many tokens an answer may have beyond one for each character of the parent: for words around the program."""
CHECK_TOKENS = 16
"""How many tokens the first question may have for an answer: some models refuse to answer in one."""

CLOSE_SECONDS = 10.0
"""How long a run that ends waits for the replies under way."""


class ServedMutation(RememberingMutation):
    """Has a model on an OpenAI-compatible server change programs.

    Args:
        source: ``MODEL@BASE_URL``.
        options: How it is asked; by default as `ServedOptions` says.
        name: Name of the operator in records and tables.

    Raises:
        ConfigError: The source is none, or the key is no key.
    """

    def __init__(self, source: str, options: ServedOptions | None = None, *, name: str = "api") -> None:
        self.options = options = options or ServedOptions()
        self.name = name
        self.parents_per_child = options.parents
        self.repairs = options.repair
        self.ahead = options.wait
        self.concurrency = 0 if options.wait else options.concurrency
        model, url = read_source(source)
        self._server = ServedModel(
            url,
            model,
            _key(options.key),
            key_variable=options.key or "OPENAI_API_KEY",
            timeout=options.timeout,
            retries=options.retries,
            back_off=options.back_off,
        )
        self._fields: dict[str, Any] = {"model": model, "temperature": options.temperature, **options.extra_fields()}
        if options.top_p < 1.0:
            self._fields["top_p"] = options.top_p
        if options.min_p > 0.0:
            self._fields["min_p"] = options.min_p
        self._ledger = Ledger(name, options.terms())
        self._first_question = NOTHING
        self._memory = Memory(options.memory_every) if options.memory else None
        self._free = threading.BoundedSemaphore(options.concurrency)
        self._closed = threading.Event()  # set for those who wait now when the operator is closed
        self._in_a_row = 0  # requests without an answer since the last that had one
        self._stopped: ElmError | None = None  # why nothing is asked any more

    def check_parents(self, programs: Sequence[str]) -> None:
        """Asks the server for a few tokens, before anything is written.

        Raises:
            ElmError: There is no server, or it does not know the key or the model, or takes no such request.
        """
        variable = self.options.key
        if variable not in ("", ServedOptions.key) and _key(variable) is None:
            raise ElmError(f"The key is to be in the environment variable {variable}, which is not set; set it.")
        messages = [{"role": "system", "content": "Answer in one word."}, {"role": "user", "content": "Are you there?"}]
        reply = self._server.check(self._request(messages, CHECK_TOKENS, nonce=0))
        self._stopped = None
        self._first_question = reply.usage

    def open(self, folder: Path, replay: Path | None = None) -> None:
        """Takes up the requests of the run in ``folder``; with ``replay``, every reply comes from that run.

        Raises:
            ElmError: They cannot be read, or no further ones written, or the other run has none.
        """
        recorded = [] if replay is None else recorded_ledgers(replay)
        self._ledger = Ledger(self.name, self.options.terms(), ledger_path(folder, self.name), recorded)
        self._stopped = None
        if self._first_question != NOTHING:
            self._ledger.checked(self._first_question)
            self._first_question = NOTHING

    def children(self, parents: Sequence[Parent], rng: np.random.Generator) -> Iterator[Child]:
        """Makes one child per parent, several at a time.

        Yields:
            The children in the order of their parents, each as soon as it and those before it are there.

        Raises:
            BudgetSpent: The budget allows no further request.
            ElmError: The server refuses all requests, or has not answered many in a row, or the operator was closed.
        """
        seeds = rng.integers(2**63, size=len(parents))
        return self._in_order(parents, [np.random.default_rng(int(seed)) for seed in seeds], self._told(), self._closed)

    def child(self, parent: Parent, rng: np.random.Generator) -> Child:
        """Makes one child; any number of threads may ask for one at a time, and at most ``concurrency`` ask the server."""
        return self._child(parent, rng, self._told(), self._closed)

    def totals(self) -> dict[str, Any]:
        """What was asked and spent so far: see `Ledger.totals`."""
        return self._ledger.totals()

    def close(self) -> None:
        """Waits a moment for the replies under way, which are paid for, gives up the rest, and closes the connections.

        Nothing is written to the run directory after that. Children that are asked for later open other connections.
        """
        closed, self._closed = self._closed, threading.Event()
        closed.set()
        until = time.monotonic() + CLOSE_SECONDS
        waiting = self.options.concurrency
        try:
            while waiting and self._free.acquire(timeout=max(0.0, until - time.monotonic())):
                waiting -= 1
        finally:  # at once when interrupted again
            self._server.close()
            for _ in range(waiting):
                self._free.acquire()
            self._free.release(self.options.concurrency)
        self._stopped = None

    def _in_order(
        self, parents: Sequence[Parent], generators: Sequence[np.random.Generator], told: str, closed: threading.Event
    ) -> Iterator[Child]:
        if len(parents) == 1:  # nothing to do at the same time
            yield self._child(parents[0], generators[0], told, closed)
            return
        pool = ThreadPoolExecutor(self.options.concurrency, thread_name_prefix="elm-rl child")
        try:
            waiting: list[Future[Child]] = [
                pool.submit(self._child, parent, generator, told, closed)
                for parent, generator in zip(parents, generators, strict=True)
            ]
            for future in waiting:
                yield future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _child(self, parent: Parent, rng: np.random.Generator, told: str, closed: threading.Event) -> Child:
        options, message = self.options, draw_message(rng)
        messages = chat_messages(parent, message, options.format, memory=told)
        request = self._request(messages, self._longest_answer(parent), nonce=int(rng.integers(2**63)))
        reply, cost = self._reply(request, closed)
        prompt = f"{ledger_path(Path(), self.name).as_posix()}#{request.key}"
        if reply.status != ANSWERED:
            return Child(None, self.name, message, failure=reply.status, prompt=prompt, cost=cost)
        reading = read_answer(parent, reply.text, options.format, ended=reply.ended)
        return Child(
            reading.program,
            self.name,
            message,
            diff=reading.diff,
            failure=reading.failure,
            prompt=prompt,
            cost=cost,
        )

    def _longest_answer(self, parent: Parent) -> int:
        """How many tokens an answer may have."""
        if self.options.max_tokens is not None:
            return self.options.max_tokens
        texts = (patched_text(parent), *(other.program for other in parent.others))
        return max(len(text) for text in texts) + ROOM_TOKENS

    def _request(self, messages: list[dict[str, str]], max_tokens: int, nonce: int) -> Request:
        body = {**self._fields, "messages": messages, "max_tokens": max_tokens}
        if self.options.seed:
            body["seed"] = nonce % 2**31
        return Request(body, nonce)

    def _reply(self, request: Request, closed: threading.Event) -> Paid:
        """The reply to a request, which is asked unless it was before."""
        ledger, cost = self._ledger, 0.0

        def failed(trouble: Trouble) -> None:
            nonlocal cost
            cost += ledger.failed(request, trouble.reason, trouble.spent(request))

        with self._free:
            if (found := ledger.find(request)) is not None:
                return found
            if self._stopped is not None:
                raise self._stopped
            if closed.is_set():
                raise closed_error()
            ledger.asked(request)
            try:
                reply = self._server.ask(request, failed, closed)
            except ServerRefusal as refusal:
                ledger.failed(request, str(refusal), NOTHING, last=True)
                self._stopped = refusal
                raise
            cost += ledger.replied(request, reply)
        self._count(reply)
        return Paid(reply, cost)

    def _count(self, reply: Reply) -> None:
        """Counts requests without an answer.

        Raises:
            ElmError: There were so many that the server seems to be gone.
        """
        self._in_a_row = self._in_a_row + 1 if reply.status == NO_ANSWER else 0
        if self._in_a_row >= max(10, 2 * self.options.concurrency):
            self._stopped = ElmError(
                f"The server at {self._server.url} has left {self._in_a_row} requests in a row without an answer (the last was "
                f"{reply.reason}); see to it, and continue the run with --resume."
            )
            raise self._stopped


def _key(variable: str) -> str | None:
    """The key in an environment variable; None where none is to be sent, or there is none.

    Raises:
        ConfigError: It holds what cannot be sent.
    """
    key = os.environ.get(variable, "").strip() if variable else ""
    if not key.isascii() or not key.isprintable():
        raise ConfigError(f"The environment variable {variable} holds characters that no key has; set it anew.")
    return key or None
