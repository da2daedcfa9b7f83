"""One interpreter process of pydantic-monty: started, spoken to, watched while a program runs, and killed when it must be.

What a program may use is processor time, where the system tells it (Linux): a process that has burnt its allowance is killed at
once, even in the middle of an operation during which the interpreter looks at no clock, and one that starves on a busy machine
is left alone for as long as it gets on. Elsewhere the wall clock has to do.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from typing import NamedTuple

from sodarace_gym.programs import interpreter_messages as messages

KILL_CPU_SECONDS = 0.2
"""Processor time after which a program is stopped by force. It is twice what a program may take, because a virtual machine may
count as processor time what its host takes from it (50 ms at once, seen)."""
FROZEN_SECONDS = 2.0
"""Wall-clock time in which an interpreter gets no processor time at all, after which it is taken for frozen and replaced; where
processor time is not known, the time past its own limit that an interpreter is waited for."""
UNTIMED_SECONDS = 0.25
"""Wall-clock time that a program may take where its processor time is not known."""
MAX_EVENT_BYTES = 64 * 1024 * 1024
"""Longest message that is read; an interpreter's memory ends long before."""

_LOOK_SECONDS = 0.05
_OUT_OF_MEMORY_STATUS = 65  # by which an interpreter says that it ended because of its memory limit


class InterpreterDiedError(Exception):
    """The process is gone, or was killed because it had to be.

    Attributes:
        exhausted: It was killed because its program had burnt its processor time.
        frozen: It was killed because it did not get on.
        out_of_memory: It ended itself because of its memory limit.
    """

    def __init__(self, why: str, *, exhausted: bool = False, frozen: bool = False, out_of_memory: bool = False) -> None:
        super().__init__(why)
        self.exhausted = exhausted
        self.frozen = frozen
        self.out_of_memory = out_of_memory


class Answer(NamedTuple):
    """What a program left behind: what it printed, cut where it was too much, how it ended, and its processor time, s."""

    printed: str
    flooded: bool
    ending: messages.Raised | messages.Suspended | None
    ran: float | None


class Interpreter:
    """An interpreter process; one thread uses it at a time, in the process that made it.

    Args:
        binary: Path of pydantic-monty's interpreter.

    Attributes:
        pid: Its process id.
        alive: Whether it can be used.

    Raises:
        OSError: It does not start.
    """

    def __init__(self, binary: str) -> None:
        # An empty environment: nothing of this process's is for programs to find. Windows cannot do without one variable.
        environment = {name: os.environ[name] for name in ("SYSTEMROOT",) if name in os.environ}
        self._process = subprocess.Popen(
            [binary, "subprocess"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._stdin, self._stdout = self._process.stdin, self._process.stdout
        self._to, self._from = self._stdin.fileno(), self._stdout.fileno()
        self._owner = os.getpid()
        self._unread = bytearray()
        self._oks = 0  # acknowledgements that must come before the next event of another kind
        self._has_session = False
        self._fresh: bytes | None = None  # what made its session, while no program has run in it
        self._before: float | None = None
        # Its processor time when it was last seen to get on, and when that was.
        self._seen: tuple[float | None, float] = (None, 0.0)
        self._killed = ""
        self.pid = self._process.pid
        self.alive = True
        self._poll: select.poll | None = None
        if hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(self._from, select.POLLIN)

    def prepare(self, session: bytes, wait: bool = False) -> None:
        """Ends the session that there is and makes another, while this process does something else.

        Args:
            session: The requests that make it: to configure it and to load a state.
            wait: Whether to wait for the end of the old one: the next program must not be charged for much of that.
        """
        if self._has_session:
            self._oks += 1
            self._send(messages.RESET)
            if wait:
                self._clock()
                try:
                    while self._oks:
                        self._acknowledge(self._message())
                except (ValueError, InterpreterDiedError):
                    self.kill()
                    return
        self._oks += 2
        self._send(session)
        self._has_session = True
        self._fresh = session

    def start(self, session: bytes, feed: bytes) -> None:
        """Starts a program.

        Args:
            session: As for :meth:`prepare`; the session that has been prepared serves if it is the same.
            feed: The request to run the program.
        """
        if self._fresh is not session:
            self.prepare(session)
        self._fresh = None
        self._clock()
        self._send(feed)

    def finish(self, max_printed: int) -> Answer:
        """Waits for the program that was started to end, with the GIL released.

        Args:
            max_printed: Bytes the program may print.

        Raises:
            InterpreterDiedError: The interpreter is gone.
        """
        texts: list[bytes] = []
        size = 0
        try:
            while True:
                event = self._event()
                if messages.kind_of(event) != messages.PRINT:
                    break
                more = messages.printed(event)
                size += sum(map(len, more))
                if size > max_printed:
                    # Whatever else it has to say, it is not heard.
                    self.kill()
                    return Answer("", True, None, None)
                texts += more
            ending = messages.ending(event)
            text = b"".join(texts).decode()
        except ValueError as error:
            self.kill()
            raise InterpreterDiedError(str(error)) from None
        after = cpu_seconds(self.pid)
        ran = None if after is None or self._before is None else after - self._before
        return Answer(text, False, ending, ran)

    def state_after(self, configure: bytes, feed: bytes) -> bytes:
        """The state of a session that has run some code of our own.

        Args:
            configure: The request for a session.
            feed: The request to run the code.

        Raises:
            InterpreterDiedError: The interpreter does not take the requests.
            ValueError: It answers with something else.
        """
        self._clock()
        self._oks += 1
        self._send(configure + feed + messages.DUMP + messages.RESET)
        answer = self.finish(0)
        if answer.ending is not None:
            raise ValueError(f"the prelude does not run: {answer.ending}")
        state = messages.dumped(self._event())
        self._oks += 1
        return state

    def kill(self) -> None:
        """Ends the process and waits for its end; in a forked child, lets go of the parent's."""
        if not self.alive:
            return
        self.alive = False
        if self._owner == os.getpid():
            self._process.kill()
            self._process.wait()
        else:
            self._process.returncode = 0  # it is not this process's to wait for
        for pipe in (self._stdin, self._stdout):
            with contextlib.suppress(OSError):
                pipe.close()

    def __del__(self) -> None:
        if getattr(self, "alive", False):
            self.kill()

    def _clock(self) -> None:
        """Starts to measure what a program takes."""
        self._before = cpu_seconds(self.pid)
        self._seen = (self._before, time.monotonic())

    def _send(self, requests: bytes) -> None:
        rest = memoryview(requests)
        # An interpreter that is gone is found out when its answer is read.
        with contextlib.suppress(BrokenPipeError):
            while rest:
                rest = rest[os.write(self._to, rest) :]

    def _event(self) -> bytes:
        """The next message that is no acknowledgement."""
        while True:
            event = self._message()
            if not self._oks:
                return event
            self._acknowledge(event)

    def _acknowledge(self, event: bytes) -> None:
        kind = messages.kind_of(event)
        if kind == messages.FATAL:
            self.kill()
            raise InterpreterDiedError(messages.fatal(event))
        if kind != messages.OK:
            raise ValueError(f"expected an acknowledgement, got an event of kind {kind}")
        self._oks -= 1

    def _message(self) -> bytes:
        unread = self._unread
        while len(unread) < 4:
            self._read(65536)
        end = 4 + int.from_bytes(unread[:4], "little")
        if end > MAX_EVENT_BYTES:
            raise ValueError("an event of absurd length")
        while len(unread) < end:
            self._read(max(65536, end - len(unread)))
        message = bytes(unread[4:end])
        del unread[:end]
        return message

    def _read(self, size: int) -> None:
        """Reads what has come, once something has."""
        if self._poll is not None:
            while not self._poll.poll(1000 * _LOOK_SECONDS):
                self._look()
            data = os.read(self._from, size)
        else:
            timer = threading.Timer(UNTIMED_SECONDS + FROZEN_SECONDS, self._process.kill)
            timer.start()
            data = os.read(self._from, size)
            if not timer.is_alive() and not data:
                self._killed = "frozen"
            timer.cancel()
        if not data:
            self._mourn()
        self._unread += data

    def _look(self) -> None:
        """Kills the interpreter if it has burnt its processor time or does not get on."""
        now, cpu = time.monotonic(), cpu_seconds(self.pid)
        seen, since = self._seen
        if cpu is None or self._before is None:
            if now - since > UNTIMED_SECONDS + FROZEN_SECONDS:
                self._killed = "frozen"
        elif cpu - self._before > KILL_CPU_SECONDS:
            self._killed = "exhausted"
        elif cpu != seen:
            self._seen = cpu, now
        elif now - since > FROZEN_SECONDS:
            self._killed = "frozen"
        if self._killed:
            self._mourn()

    def _mourn(self) -> None:
        if not self._killed:
            # It closed its end itself: its status is there in a moment.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(FROZEN_SECONDS)
        status = self._process.returncode
        self.kill()
        raise InterpreterDiedError(
            f"the interpreter is gone ({self._killed or status})",
            exhausted=self._killed == "exhausted",
            frozen=self._killed == "frozen",
            out_of_memory=not self._killed and status == _OUT_OF_MEMORY_STATUS,
        )


def cpu_seconds(pid: int) -> float | None:
    """Processor time a process has used, or None where the system does not tell."""
    if sys.platform != "linux":
        return None
    try:
        # The clock id of another process, as clock_getcpuclockid(3) makes it.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None
