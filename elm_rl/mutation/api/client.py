"""One model on one server: further attempts with pauses between them, and in one sentence what no attempt can mend."""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable
from typing import Any

from elm_rl.errors import ElmError
from elm_rl.mutation.api.connection import Connection, Refused, Unreachable, closed_error
from elm_rl.mutation.api.exchange import ANSWERED, NO_ANSWER, TOO_LONG, Reply, Request, Trouble, Usage, read_reply
from elm_rl.mutation.prompts import without_system

LONGEST_PAUSE = 600.0
"""Seconds. A server that wants to be left alone for longer does not answer this request."""
LONGEST_BACK_OFF = 60.0
"""Seconds. The pauses between attempts double up to this."""

_LONG = re.compile(
    r"context.{0,40}(?:length|window|size|limit|long)|(?:prompt|input|request).{0,40}too (?:long|large)", re.I
)
_LIMIT_REACHED = re.compile(r"max_tokens or model output limit was reached", re.I)


class ServerRefusal(ElmError):
    """The server will not answer, however often it is asked: a wrong key, an unknown model, a request it does not take."""


class ServedModel:
    """A model on a server with OpenAI's interface.

    Args:
        url: Where the interface begins, usually ending with ``/v1``.
        model: The model's name there.
        key: The secret; None for a server that needs none.
        key_variable: Name of the environment variable that holds it, for what errors say.
        timeout: Seconds that one attempt may take.
        retries: How many further attempts a request gets.
        back_off: Seconds before the first of them; twice as many before each next one.
    """

    def __init__(
        self,
        url: str,
        model: str,
        key: str | None = None,
        *,
        key_variable: str = "OPENAI_API_KEY",
        timeout: float = 120.0,
        retries: int = 5,
        back_off: float = 1.0,
    ) -> None:
        self.url = url
        self.model = model
        self._connection = Connection(url, key, timeout)
        self._has_key = key is not None
        self._key_variable = key_variable
        self._retries = retries
        self._back_off = back_off
        self._not_before = 0.0  # by the monotonic clock: until then the server wants to be left alone
        self._renamed: dict[str, str | None] = {}  # fields that this server knows by another name, or not at all
        self._takes_system = True

    def check(self, request: Request) -> Reply:
        """Asks a first question, so that what will never work is known before anything else is done.

        Raises:
            ServerRefusal: There is no server, it does not know the key or the model, or takes no such request.
            ElmError: It does not answer.
        """
        try:
            reply = self._asked(request, _unreachable_is_refusal(self.url), threading.Event())
        except Refused as refused:
            raise self._explained(refused) from None
        if reply.status != ANSWERED:
            raise ElmError(
                f"The server at {self.url} gives no answer for the model '{self.model}' ({reply.reason}); see to the server, "
                "or give it more time with timeout."
            )
        return reply

    def ask(self, request: Request, failed: Callable[[Trouble], None], closed: threading.Event) -> Reply:
        """Asks until there is an answer, the attempts are used up, or it is clear that there will be none.

        Args:
            request: The question.
            failed: Told of each failed attempt.
            closed: Once it is set, there are no further attempts.

        Returns:
            The answer, or that there is none for this request.

        Raises:
            ServerRefusal: Another request would fare no better: the key or the model is refused, or the account is used up.
            ElmError: ``closed`` is set, or `close` was called.
        """
        try:
            return self._asked(request, failed, closed)
        except Refused as refused:
            if refused.status in (401, 402, 403, 404, 429):
                raise self._explained(refused) from None
            return Reply(NO_ANSWER, reason=f"status {refused.status}: {refused.text}")

    def close(self) -> None:
        """Gives up the attempts under way, and the connections; the next attempt opens others."""
        self._connection.close()

    def _asked(self, request: Request, failed: Callable[[Trouble], None], closed: threading.Event) -> Reply:
        for attempt in range(self._retries + 1):
            _pause(self._not_before - time.monotonic(), closed)
            try:
                return self._one_attempt(request)
            except Trouble as trouble:
                failed(trouble)
                pause = self._pause_after(attempt, request, trouble)
                if attempt == self._retries or pause > LONGEST_PAUSE:
                    times = "1 attempt" if attempt == 0 else f"{attempt + 1} attempts"
                    return Reply(NO_ANSWER, reason=f"given up after {times}: {trouble.reason}")
                _pause(pause, closed)
        raise AssertionError("the last attempt returns")

    def _one_attempt(self, request: Request) -> Reply:
        """One attempt, and another for each part of the request that turns out to be said otherwise here.

        Raises:
            Trouble: It failed, and may succeed later.
            Refused: It failed for good.
        """
        while True:
            body = self._as_this_server_takes_it(request)
            try:
                return read_reply(self._connection.send(body), request)
            except Refused as refused:
                unreadable = refused.status in (400, 422)
                if unreadable and self._adapted(body, refused.text):
                    continue
                if _LIMIT_REACHED.search(refused.text):  # a model that thought until its limit
                    longest = int(request.body["max_tokens"])
                    return Reply(ANSWERED, ended=False, usage=Usage(request.estimated_tokens, longest, estimated=True))
                if refused.status == 413 or (unreadable and _LONG.search(refused.text)):
                    return Reply(TOO_LONG, reason=refused.text)
                raise

    def _as_this_server_takes_it(self, request: Request) -> dict[str, Any]:
        body = dict(request.body)
        for name, other in self._renamed.items():
            value = body.pop(name, None)
            if other is not None and value is not None:
                body[other] = value
        if not self._takes_system:
            body["messages"] = without_system(body["messages"])
        return body

    def _adapted(self, body: dict[str, Any], text: str) -> bool:
        """Whether a request was refused for something that can be said otherwise; it is from now on."""
        if "max_tokens" in body and "max_completion_tokens" in text:
            self._renamed["max_tokens"] = "max_completion_tokens"
        elif "seed" in body and re.search(r"\bseed\b", text):
            self._renamed["seed"] = None
        elif body["messages"][0]["role"] == "system" and re.search("system role", text, re.IGNORECASE):
            self._takes_system = False
        else:
            return False
        return True

    def _pause_after(self, attempt: int, request: Request, trouble: Trouble) -> float:
        """Seconds before the next attempt: what the server asks for, or twice as long as before, spread over half of that.

        The spread keeps requests that failed together from coming back together; it is a fixed one for each request.
        """
        if trouble.retry_after is not None:
            if trouble.retry_after <= LONGEST_PAUSE:
                self._not_before = max(self._not_before, time.monotonic() + trouble.retry_after)  # for all requests
            return trouble.retry_after
        digest = hashlib.sha256(f"{request.key} {attempt}".encode()).digest()
        spread = int.from_bytes(digest[:4], "big") / 2**32
        return min(LONGEST_BACK_OFF, self._back_off * 2.0**attempt) * (1.0 - spread / 2)

    def _explained(self, refused: Refused) -> ServerRefusal:
        """The sentence for a refusal."""
        said = f"{refused.status}: {refused.text}" if refused.text else f"{refused.status}"
        if refused.status in (401, 403):
            which = f"the key in {self._key_variable}" if self._has_key else "a request without a key"
            return ServerRefusal(
                f"The server at {self.url} refuses {which} ({said}); put a key it knows into the environment variable "
                f"{self._key_variable}, or name another variable with key."
            )
        if refused.status == 404:
            known = ", ".join(self._connection.models())
            offer = f"it offers {known}" if known else "correct the name, or the address, which often ends with /v1"
            return ServerRefusal(f"The server at {self.url} knows no model '{self.model}' ({said}); {offer}.")
        if refused.status in (402, 429):
            return ServerRefusal(
                f"The account at {self.url} is used up ({said}); fill it, and continue the run with --resume."
            )
        return ServerRefusal(
            f"The server at {self.url} does not take a request for the model '{self.model}' ({said}); correct what it names."
        )


def _unreachable_is_refusal(url: str) -> Callable[[Trouble], None]:
    """For a first question: without a connection there is nothing to wait for."""

    def failed(trouble: Trouble) -> None:
        if isinstance(trouble, Unreachable):
            raise ServerRefusal(
                f"The server at {url} cannot be reached ({trouble.reason}); start it, or correct the address."
            ) from None

    return failed


def _pause(seconds: float, closed: threading.Event) -> None:
    """Waits; raises ElmError once the operator is closed."""
    if closed.wait(max(0.0, seconds)):
        raise closed_error()
