"""A server with OpenAI's interface that behaves as badly as a test tells it to, and counts what it is asked."""

from __future__ import annotations

import json
import select
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

CHILD = "def make_walker():\n    wc = walker_creator()\n    wc.add_joint(0, 0)\n    return wc.get_walker()\n"
USAGE = {"prompt_tokens": 100, "completion_tokens": 40, "total_tokens": 140}


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server: RudeServer

    def do_GET(self) -> None:
        """The list of models."""
        self.send(200, json.dumps({"object": "list", "data": [{"id": "tiny"}, {"id": "large"}]}).encode())

    def do_POST(self) -> None:
        """A request for an answer."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.body = body
        with self.server.counted(self, body) as act:
            act(self)

    def send(self, status: int, data: bytes, **headers: str) -> None:
        """A whole reply."""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(data)

    def gone(self, seconds: float = 0.01) -> bool:
        """Whether the client has hung up, after waiting a moment for that."""
        readable, _, _ = select.select([self.connection], [], [], seconds)
        return bool(readable) or self.server.ending.is_set()

    def log_message(self, *args: Any) -> None:
        """Says nothing."""


Act = Callable[[Handler], None]


def completion(text: Any, finish: str = "stop", usage: dict[str, int] | None = USAGE) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": finish}
    content = {"id": "1", "object": "chat.completion", "choices": [choice]}
    return json.dumps(content if usage is None else content | {"usage": usage}).encode()


def answers(text: Any = f"```python\n{CHILD}```", finish: str = "stop", usage: dict[str, int] | None = USAGE) -> Act:
    return lambda handler: handler.send(200, completion(text, finish, usage))


def echoes(handler: Handler) -> None:
    """An answer that depends on the question only, seed included."""
    body = handler.body
    program = f"{CHILD}# {body.get('seed')} {sum(map(ord, body['messages'][-1]['content']))}\n"
    handler.send(200, completion(f"```python\n{program}```"))


def sends(status: int, content: Any = b"", **headers: str) -> Act:
    data = content if isinstance(content, bytes) else json.dumps(content).encode()
    return lambda handler: handler.send(status, data, **headers)


def hangs(handler: Handler) -> None:
    while not handler.gone():
        pass
    handler.close_connection = True


def trickles(handler: Handler) -> None:
    """Sends something all the time and never ends."""
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "1000000")
    handler.end_headers()
    while not handler.gone(0.02):
        handler.wfile.write(b" ")
    handler.close_connection = True


def floods(handler: Handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(10**12))
    handler.end_headers()
    handler.close_connection = True
    try:
        while not handler.server.ending.is_set():
            handler.wfile.write(b" " * 2**18)
    except OSError:
        pass


def disconnects(handler: Handler) -> None:
    handler.close_connection = True


def breaks_off(handler: Handler) -> None:
    """Half of a reply, and the connection is closed."""
    data = completion(f"```python\n{CHILD}```")
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data[: len(data) // 2])
    handler.close_connection = True


def in_turn(*acts: Act) -> Callable[[], Iterator[Act]]:
    """Acts one after the other, and the last again and again."""

    def turns() -> Iterator[Act]:
        yield from acts
        while True:
            yield acts[-1]

    return turns


class RudeServer(ThreadingHTTPServer):
    """Listens on a free port of this machine.

    Attributes:
        bodies: What was asked, in order of arrival.
        keys: The header with the key, of each.
        times: When each came.
        most: Most requests that were under way at once.
        slow: Seconds that it takes over each request.
        acts: What it does with the next ones.
    """

    daemon_threads = True
    request_queue_size = 128

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/v1"
        self.ending = threading.Event()
        self.lock = threading.Lock()
        self.slow = 0.0
        self.behave(answers())

    def behave(self, *acts: Act) -> None:
        """Forgets what was, and does this from now on: one after the other, and the last again and again."""
        self.acts = in_turn(*acts)()
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.times: list[float] = []
        self.now = self.most = 0

    @contextmanager
    def counted(self, handler: Handler, body: dict[str, Any]) -> Iterator[Act]:
        """Counts a request while it is under way."""
        with self.lock:
            self.bodies.append(body)
            self.keys.append(handler.headers["Authorization"])
            self.times.append(time.monotonic())
            self.now += 1
            self.most = max(self.most, self.now)
            act = next(self.acts)
        if self.slow:
            time.sleep(self.slow)

        def leaving(handler: Handler) -> None:
            try:
                act(handler)
            except OSError:
                handler.close_connection = True

        try:
            yield leaving if act in (hangs, trickles, floods) else self._left_first(act)
        finally:
            if act in (hangs, trickles, floods):
                self._leave()

    def _left_first(self, act: Act) -> Act:
        """Does not count a request any more once its reply may have arrived: the client may then send the next."""

        def do(handler: Handler) -> None:
            self._leave()
            act(handler)

        return do

    def _leave(self) -> None:
        with self.lock:
            self.now -= 1

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Says nothing."""


@contextmanager
def serving() -> Iterator[RudeServer]:
    """A server for the length of a block."""
    server = RudeServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.ending.set()
        server.shutdown()
        server.server_close()
        thread.join()


def texts(lines: Iterable[dict[str, Any]], kind: str, field: str) -> list[Any]:
    """A field of all lines of a kind."""
    return [line[field] for line in lines if line["kind"] == kind]
