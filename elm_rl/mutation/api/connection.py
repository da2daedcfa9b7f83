"""The connections to one server, through the `openai` client: a request goes out, bytes or a sorted failure come back.

The requests run in one event loop, in a thread of its own: there an attempt ends at its time-out however slowly the server goes
on sending, and all of them end when the operator is closed. `Connection.send` itself blocks, in as many threads as like.
"""

from __future__ import annotations

import asyncio
import email.utils
import json
import os
import threading
import time
from collections.abc import Coroutine, Mapping
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

import openai

from elm_rl.errors import ElmError
from elm_rl.mutation.api.exchange import Trouble, error_text, shortened

MAX_REPLY_BYTES = 4 * 2**20
"""A reply longer than this is given up: no answer is as long."""
CONNECT_SECONDS = 10.0
"""Longest that making a connection may take."""

_NO_CONNECTION = ("ConnectError", "ConnectTimeout", "UnsupportedProtocol")
"""What the HTTP library, whichever the client uses, calls its errors when there is no connection."""
_MENDABLE = (408, 409, 425, 429)
"""Statuses below 500 after which the same request may succeed."""

_T = TypeVar("_T")


class Unreachable(Trouble):
    """There is no connection at all."""


class Refused(Exception):
    """A status that another attempt at the same request would not change.

    Attributes:
        status: The status.
        text: What the server says about it.
    """

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


class Connection:
    """A server with OpenAI's interface.

    Args:
        url: Where the interface begins, usually ending with ``/v1``.
        key: The secret; None for a server that needs none. It is in no text that comes back.
        timeout: Seconds that a request may take.
    """

    def __init__(self, url: str, key: str | None, timeout: float) -> None:
        self._url = url
        self._key = key
        self._timeout = timeout
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._loop_pid = 0  # whose it is
        self._client: openai.AsyncOpenAI

    def send(self, body: Mapping[str, Any]) -> bytes:
        """Asks for one chat completion.

        Returns:
            What the server sent with status 200.

        Raises:
            Trouble: It failed, and may succeed later.
            Refused: It failed for good.
            ElmError: `close` was called.
        """
        return self._run(self._post(body))

    def models(self) -> list[str]:
        """Names of some models that the server says it has; none where it does not say."""

        async def listed() -> list[str]:
            async with asyncio.timeout(min(self._timeout, CONNECT_SECONDS)):
                return [shortened(str(model.id), 60) for model in (await self._client.models.list()).data]

        try:
            return self._run(listed())[:8]
        except Exception:  # of no consequence: this is a hint within another error
            return []

    def close(self) -> None:
        """Ends the requests under way, and the connections; the next request opens others."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is not None and self._loop_pid == os.getpid():
            loop.call_soon_threadsafe(loop.stop)

    async def _post(self, body: Mapping[str, Any]) -> bytes:
        data = bytearray()
        try:
            async with asyncio.timeout(self._timeout):
                ask = self._client.chat.completions.with_streaming_response.create
                async with ask(model=body["model"], messages=[], extra_body=dict(body)) as response:
                    try:
                        async for chunk in response.iter_bytes():
                            data += chunk
                            if len(data) > MAX_REPLY_BYTES:
                                raise Trouble(f"the reply has more than {MAX_REPLY_BYTES:,} bytes", reached=True)
                    except Trouble:
                        raise
                    except Exception as error:  # the HTTP library's, which is another in other versions of the client
                        raise Trouble(
                            f"the connection broke within the reply ({self._cause(error)})",
                            reached=True,
                            received=data.decode("utf-8", "replace"),
                        ) from None
        except TimeoutError:
            received = data.decode("utf-8", "replace")
            raise Trouble(f"no whole reply in {self._timeout:g} seconds", reached=True, received=received) from None
        except openai.APIStatusError as error:
            raise self._sorted(error) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
            if type(cause).__name__ in _NO_CONNECTION:
                raise Unreachable(self._cause(cause)) from None
            raise Trouble(f"the connection broke ({self._cause(cause)})", reached=True) from None
        return self._without_key(bytes(data))

    def _sorted(self, error: openai.APIStatusError) -> Exception:
        """What a status other than 200 means."""
        status, text = error.status_code, error_text(self._without_key(error.response.content))
        used_up = status == 429 and (error.code == "insufficient_quota" or "insufficient_quota" in text)
        if not used_up and (status in _MENDABLE or status >= 500):
            return Trouble(f"status {status}: {text}", retry_after=_retry_after(error.response.headers))
        return Refused(status, text)

    def _run(self, work: Coroutine[Any, Any, _T]) -> _T:
        """Runs something in the event loop and waits for it."""
        with self._lock:
            future: Future[_T] = asyncio.run_coroutine_threadsafe(work, self._started())
        try:
            return future.result()
        except CancelledError:
            raise closed_error() from None
        except BaseException:
            future.cancel()  # whoever asked was interrupted
            raise

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is None or self._loop_pid != os.getpid():  # a forked process has no thread of this one
            self._loop, self._loop_pid = asyncio.new_event_loop(), os.getpid()
            self._client = openai.AsyncOpenAI(
                base_url=self._url,
                api_key=self._key or "none",
                max_retries=0,
                # The time-out is kept by `_post`; one between two pieces of a reply would never end some.
                timeout=openai.Timeout(None, connect=min(0.8 * self._timeout, CONNECT_SECONDS)),
            )
            threading.Thread(
                target=_serve, args=(self._loop, self._client), name="elm-rl requests", daemon=True
            ).start()
        return self._loop

    def _cause(self, error: BaseException) -> str:
        text = self._without_key(str(error).encode("utf-8", "replace")).decode("utf-8")
        return shortened(text) or type(error).__name__

    def _without_key(self, data: bytes) -> bytes:
        """What a server sent, without the key, should it repeat it."""
        if not self._key:
            return data
        escaped = json.dumps(self._key)[1:-1]
        # JSON may escape a slash too.
        for form in (escaped.replace("/", "\\/"), escaped, self._key.replace("/", "\\/"), self._key):
            data = data.replace(form.encode("ascii"), b"[key]")
        return data


def closed_error() -> ElmError:
    """Raised in threads that wait for a server when the operator is closed."""
    return ElmError("The operator was closed while it waited for a server; the run can be continued with --resume.")


def _serve(loop: asyncio.AbstractEventLoop, client: openai.AsyncOpenAI) -> None:
    """Runs a loop until it is stopped, then ends what is under way in it."""
    asyncio.set_event_loop(loop)
    loop.run_forever()
    try:
        tasks = asyncio.all_tasks(loop)
        for task in tasks:
            task.cancel()
        if tasks:
            loop.run_until_complete(asyncio.wait(tasks))
        loop.run_until_complete(client.close())
    finally:
        loop.close()


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to be left alone, as a number or as a date; None where it does not ask."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
            except (TypeError, ValueError, OverflowError):
                continue
        if seconds == seconds:  # not NaN
            return max(0.0, seconds)
    return None
