"""The sandbox's interpreter processes and how each of them runs a program.

A pool of pydantic-monty workers serves one fresh session per program. It is fed the program and a call of its
``make_walker()``, and prints what that returned. The value the feed ends with is never looked at: a program may return from
outside any function, and shared or cyclic structures would hang whoever walks them. Printed text is text: it is capped,
what follows the last mark is parsed as JSON and checked piece by piece on the host (raw_walker.py). Everything but completion
is a rejection, because names and system calls the sandbox does not know suspend it and wait for the host, which answers none.

The prelude is run once per pool and restored from a snapshot for every program, which is faster than running it again
and leaves line numbers the program's own.
"""

from __future__ import annotations

import datetime
import sys
import time

import pydantic_monty as monty

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.prelude import MAX_REPLY_CHARS, NUMPY_PRELUDE, PRELUDE, REPLY_MARK
from sodarace_gym.programs.verdicts import (
    MAX_PRINT_BYTES,
    is_time_limit,
    runtime_error,
    suspended,
    syntax_error,
    time_limit,
)
from sodarace_gym.walkers.raw_walker import RawWalker, parse_reply

FEED_SECONDS = 0.25
"""Wall-clock time after which the interpreter stops a program."""
PROGRAM_CPU_SECONDS = 0.1
"""Processor time of one program, where the system tells it (Linux). The seeds need about a thousandth of a second.

This, not the wall clock, decides what is refused, so that the same program meets the same fate on a busy machine.
"""
PATIENCE_SECONDS = 2.0
"""Wall-clock time past FEED_SECONDS after which a worker that does not answer is killed. An idle machine stops a program long
before; on one that is far too busy, a worker may wait for a processor for seconds, and its program must not be blamed."""
MAX_MEMORY_BYTES = 32 * 1024 * 1024
"""Memory of one program, prelude included."""
MAX_RECURSION_DEPTH = 200
"""Calls within calls."""

_LIMITS: monty.ResourceLimits = {
    "max_feed_duration_secs": FEED_SECONDS,
    "max_memory": MAX_MEMORY_BYTES,
    "max_recursion_depth": MAX_RECURSION_DEPTH,
    "max_suspensions": 4,
}
# The same program must give the same walker everywhere: no clock, no entropy, no waiting.
_OS_POLICY: monty.OSPolicy = {
    "sleep": "zero",
    "random_start": {"seed": 0},
    "datetime": datetime.datetime(2000, 1, 1, tzinfo=datetime.UTC),
}
_CALL = "\n\n_sodarace_send(make_walker())\n"

# How often a program that ran out of time is tried in all: of wall-clock time only, and of processor time too. The latter may
# still be the machine's doing: a virtual machine counts as processor time what its host takes from it (50 ms at once, seen).
_STARVED_ATTEMPTS = 4
_LATE_ATTEMPTS = 2
# A worker may die, or be killed because it does not answer, for reasons that have nothing to do with the program: once is
# forgiven.
_CRASH_ATTEMPTS = 2


class _OutOfTimeError(Exception):
    """A program ran out of time; carries the verdict for when this goes on, and how often to try in all."""

    def __init__(self, verdict: ProgramError, ran: float | None) -> None:
        super().__init__(verdict)
        self.verdict = verdict
        self.attempts = _STARVED_ATTEMPTS if ran is not None and ran < PROGRAM_CPU_SECONDS else _LATE_ATTEMPTS


class WorkerPool:
    """Interpreter processes, started at once; use it only in the process that made it.

    Args:
        processes: Most workers alive at a time.

    Raises:
        RuntimeError: The workers do not start.
    """

    def __init__(self, processes: int) -> None:
        try:
            self.workers = monty.Monty(
                max_processes=processes,
                request_timeout=FEED_SECONDS + PATIENCE_SECONDS,
                feed_duration_limit_grace=PATIENCE_SECONDS,
                turn_duration_limit_grace=PATIENCE_SECONDS,
            )
            self.workers.__enter__()
            self._snapshot, self._numpy_snapshot = self._session_after(PRELUDE), self._session_after(NUMPY_PRELUDE)
        except (monty.MontyError, OSError, RuntimeError) as error:
            raise RuntimeError(
                f"the sandbox's workers do not start: {error}; reinstall it with: pip install 'pydantic-monty==1.4.*'"
            ) from error

    def run(self, program: str) -> RawWalker:
        """Runs one program on a free worker, waiting for one with the GIL released.

        Args:
            program: Clean text of acceptable length, its imports replaced.

        Raises:
            ProgramError: The program cannot be used.
        """
        late = crashed = 0
        while True:
            try:
                return parse_reply(self._reply(program))
            except _OutOfTimeError as error:
                late += 1
                if late >= error.attempts:
                    raise error.verdict from None
            except monty.MontyCrashedError as error:
                crashed += 1
                if crashed == _CRASH_ATTEMPTS and error.timed_out:
                    # It was killed in some long native operation that does not look at the clock.
                    raise time_limit() from None
                if crashed == _CRASH_ATTEMPTS:
                    raise ProgramError(
                        "sandbox_failure",
                        "the program brought its interpreter down; write it with plain loops, lists and numbers.",
                    ) from None

    def end(self) -> None:
        """Ends the workers."""
        self.workers.__exit__(None, None, None)

    def _session_after(self, prelude: str) -> bytes:
        """A session that has run some code, for others to start from."""
        with self.workers.checkout(limits=_LIMITS, os_policy=_OS_POLICY) as session:
            session.feed_start(prelude)
            return session.dump()

    def _reply(self, program: str) -> str:
        """Runs a program in a fresh session and returns its reply.

        Raises:
            ProgramError: The program failed.
            _OutOfTimeError: It ran out of time, perhaps through no fault of its own.
            monty.MontyCrashedError: The worker died.
        """
        printed = monty.CollectString(MAX_PRINT_BYTES)
        code = program + _CALL
        with self.workers.checkout(limits=_LIMITS, os_policy=_OS_POLICY) as session:
            session.load_session(self._numpy_snapshot if "np" in program else self._snapshot)
            worker = session.worker_pid
            before = _cpu_seconds(worker)
            try:
                outcome = session.feed_start(code, print_callback=printed)
            except monty.MontySyntaxError as error:
                raise syntax_error(error, program) from None
            except monty.MontyRuntimeError as error:
                verdict = runtime_error(error, program)
                if is_time_limit(error):
                    raise _OutOfTimeError(verdict, _ran_for(worker, before)) from None
                raise verdict from None
            if not isinstance(outcome, monty.MontyComplete):
                raise suspended(outcome, code, program)
            ran = _ran_for(worker, before)
            if ran is not None and ran > PROGRAM_CPU_SECONDS:
                raise _OutOfTimeError(time_limit(), ran)
        _, sent, reply = printed.output.rpartition(REPLY_MARK)
        if not sent:
            raise ProgramError(
                "no_make_walker",
                "the program ends before make_walker() can be called; remove 'return' outside functions.",
            )
        if len(reply.rstrip("\n")) > MAX_REPLY_CHARS:
            raise ProgramError(
                "wrong_result", "the walker's description is far too long; add fewer joints and muscles."
            )
        return reply


def _cpu_seconds(pid: int | None) -> float | None:
    """Processor time a worker has used, or None where the system does not tell."""
    if pid is None or sys.platform != "linux":
        return None
    try:
        # The clock id of another process, as clock_getcpuclockid(3) makes it.
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def _ran_for(worker: int | None, before: float | None) -> float | None:
    """Processor time a worker has used since ``before``, or None where the system does not tell."""
    after = _cpu_seconds(worker)
    return None if before is None or after is None else after - before
