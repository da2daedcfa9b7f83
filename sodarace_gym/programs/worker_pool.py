"""The sandbox's interpreter processes and how each of them runs a program.

A fresh session serves each program. It is fed the program and a call of its ``make_walker()``, and prints what that returned.
The value the feed ends with is never looked at: a program may return from outside any function, and shared or cyclic
structures would hang whoever walks them. Printed text is text: it is capped, what follows the last mark is parsed as JSON and
checked piece by piece on the host (raw_walker.py). Everything but completion is a rejection, because names and system calls
the sandbox does not know suspend it and wait for the host, which answers none.

The prelude, with what a program needs of the sandbox's library, is run once per pool and restored from a snapshot for every
program, which is faster than running it again and leaves line numbers the program's own.
"""

from __future__ import annotations

import threading
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs import interpreter_messages as messages
from sodarace_gym.programs.interpreter import UNTIMED_SECONDS, Answer, Interpreter, InterpreterDiedError, cpu_seconds
from sodarace_gym.programs.prelude import MAX_REPLY_CHARS, PRELUDE, REPLY_MARK
from sodarace_gym.programs.sandbox_library import library_for
from sodarace_gym.programs.verdicts import (
    MAX_PRINT_BYTES,
    is_time_limit,
    memory_limit,
    prints_too_much,
    rejected,
    time_limit,
)
from sodarace_gym.walkers.raw_walker import RawWalker, parse_reply

Value = TypeVar("Value")

PROGRAM_CPU_SECONDS = 0.1
"""Processor time of one program, where the system tells it (Linux). The seeds need about a thousandth of a second.

This, not the wall clock, decides what is refused, so that the same program meets the same fate on a busy machine.
"""
STARVED_SECONDS = 10.0
"""Wall-clock time of one program where its processor time is known: a busy machine may take so long to grant it that."""
MAX_MEMORY_BYTES = 32 * 1024 * 1024
"""Memory of one program, prelude included."""
MAX_RECURSION_DEPTH = 200
"""Calls within calls."""

_CALL = "\n\n_sodarace_send(make_walker())\n"
_EPOCH = 946_684_800  # it is always the first of January, 2000

# How often a program that took too long is tried in all. Up to KILL_CPU_SECONDS it may be the machine's doing; beyond, one try
# decides.
_LATE_ATTEMPTS = 2
# An interpreter may die for reasons that have nothing to do with the program: once is forgiven.
_CRASH_ATTEMPTS = 2
# Sessions kept, one for each library that programs need. Others are made anew, which takes some milliseconds.
_MOST_SESSIONS = 64
# After a program that took so long, there may be much to clean up, which the next one must not be charged for.
_HEAVY_CPU_SECONDS = 0.01


class WorkerPool:
    """Interpreter processes, the first started at once; use it only in the process that made it.

    Args:
        processes: Most programs that threads calling :meth:`run` run at a time, and most that one :meth:`run_many` does.

    Raises:
        RuntimeError: The interpreters do not start.
    """

    def __init__(self, processes: int) -> None:
        self._processes = processes
        self._vacant = threading.Semaphore(processes)
        self._free: list[_Worker] = []
        self._ended = False
        # Those in use elsewhere too: a forked child lets go of them all.
        self._workers: weakref.WeakSet[_Worker] = weakref.WeakSet()
        try:
            # Found when first needed: the package takes a while to import.
            from pydantic_monty._binary import find_monty_binary

            self._binary = find_monty_binary()
            first = Interpreter(self._binary)
            timed = cpu_seconds(first.pid) is not None
            self._fresh = messages.configure(
                STARVED_SECONDS if timed else UNTIMED_SECONDS, MAX_MEMORY_BYTES, MAX_RECURSION_DEPTH, _EPOCH
            )
            self._making = threading.Lock()
            self._sessions = {"": self._session_with(first, "")}
        except (ImportError, OSError, ValueError, InterpreterDiedError) as error:
            raise _not_started(error) from error
        self._free.append(self._new_worker(first))

    def run(self, program: str) -> RawWalker:
        """Runs one program on a free worker, waiting for one with the GIL released.

        Args:
            program: Clean text of acceptable length, as ``prelude.prepare`` returns it.

        Raises:
            ProgramError: The program cannot be used.
            RuntimeError: An interpreter cannot be started.
        """
        with self._vacant:
            worker = self._taken()
            try:
                worker.start(program)
                reply = worker.reply()
            finally:
                self._give_back(worker)
        return parse_reply(reply)

    def run_many(
        self, programs: Iterable[str | ProgramError], processes: int | None = None
    ) -> Iterator[RawWalker | ProgramError]:
        """Runs programs on several workers from one thread: they work on while outcomes are read and used.

        Every program has a session of its own, as in :meth:`run`, and a worker is given a program only once the one before
        has ended there.

        Args:
            programs: As for :meth:`run`, taken as workers become free; an error stands for a program that is not to be run.
            processes: Most workers to use, within the pool's own limit; None for that limit.

        Yields:
            For each program, in order, what it describes or why it cannot be used.

        Raises:
            RuntimeError: An interpreter cannot be started.
        """
        waiting, most = iter(programs), min(processes or self._processes, self._processes)
        idle: list[_Worker] = []
        under_way: deque[_Worker | ProgramError] = deque()

        def start_more() -> None:
            while len(under_way) < most:
                program = next(waiting, None)
                if program is None:
                    return
                if isinstance(program, ProgramError):
                    under_way.append(program)
                    continue
                worker = idle.pop() if idle else self._taken()
                under_way.append(worker)
                worker.start(program)

        try:
            start_more()
            while under_way:
                first = under_way[0]
                outcome = first if isinstance(first, ProgramError) else _caught(first.reply)
                under_way.popleft()
                if isinstance(first, _Worker):
                    idle.append(first)
                # The next program runs while this one's description is read.
                start_more()
                yield outcome if isinstance(outcome, ProgramError) else _caught(parse_reply, outcome)
        finally:
            for worker in (*idle, *under_way):
                if isinstance(worker, _Worker):
                    self._give_back(worker)

    def end(self) -> None:
        """Ends the workers; one that is busy ends with its program."""
        self._ended = True
        while self._free:
            self._free.pop().end()

    def abandon(self) -> None:
        """In a forked child: lets go of the parent's workers."""
        for worker in list(self._workers):
            worker.end()

    def _taken(self) -> _Worker:
        """A worker that nobody else uses."""
        try:
            return self._free.pop()
        except IndexError:
            return self._new_worker(self._new_interpreter())

    def _give_back(self, worker: _Worker) -> None:
        if worker.busy or self._ended or len(self._free) >= self._processes:
            worker.end()
        else:
            self._free.append(worker)

    def _new_worker(self, interpreter: Interpreter) -> _Worker:
        worker = _Worker(interpreter, self._new_interpreter, self._session)
        self._workers.add(worker)
        return worker

    def _new_interpreter(self) -> Interpreter:
        try:
            return Interpreter(self._binary)
        except OSError as error:
            raise _not_started(error) from error

    def _session(self, program: str) -> bytes:
        """What makes a fresh session for a program: kept by what it needs, which differs little between programs."""
        library = library_for(program)
        session = self._sessions.get(library)
        if session is None:
            with self._making:
                session = self._sessions.get(library) or self._made_session(library)
                self._sessions[library] = session
                while len(self._sessions) > _MOST_SESSIONS:
                    self._sessions.pop(next(name for name in self._sessions if name))
        return session

    def _made_session(self, library: str) -> bytes:
        """The same for a library not met so far, made by an interpreter of its own: all others may be busy."""
        interpreter = self._new_interpreter()
        try:
            return self._session_with(interpreter, library)
        except (ValueError, InterpreterDiedError) as error:
            raise _not_started(error) from error
        finally:
            interpreter.kill()

    def _session_with(self, interpreter: Interpreter, library: str) -> bytes:
        feed = messages.feed(PRELUDE + library, first=True)
        return self._fresh + messages.load(interpreter.state_after(self._fresh, feed))


class _Worker:
    """An interpreter, which is replaced when it dies, and the program that it runs.

    Attributes:
        interpreter: The present one.
        busy: Whether a program is under way.
    """

    def __init__(
        self, interpreter: Interpreter, replacement: Callable[[], Interpreter], session: Callable[[str], bytes]
    ) -> None:
        self.interpreter = interpreter
        self.busy = False
        self._replacement = replacement
        self._session = session
        self._program = ""

    def start(self, program: str) -> None:
        """Starts a program."""
        self._program = program
        self.busy = True
        if not self.interpreter.alive:
            self.interpreter = self._replacement()
        self.interpreter.start(self._session(program), messages.feed(program + _CALL))

    def reply(self) -> str:
        """Waits for the program's reply, and tries again where a failure may be the machine's fault.

        Raises:
            ProgramError: The program failed.
        """
        late = crashed = 0
        while True:
            try:
                answer = self.interpreter.finish(MAX_PRINT_BYTES)
            except InterpreterDiedError as error:
                crashed += 1
                if error.out_of_memory or error.exhausted or crashed == _CRASH_ATTEMPTS:
                    self.busy = False
                    raise _verdict_on_death(error) from None
            else:
                if self.interpreter.alive:
                    # The next program is likely to be of the same kind.
                    heavy = answer.ran is None or answer.ran > _HEAVY_CPU_SECONDS
                    self.interpreter.prepare(self._session(self._program), wait=heavy)
                late += 1
                if not _late(answer) or late == _LATE_ATTEMPTS:
                    self.busy = False
                    return _reply_in(answer, self._program)
            self.start(self._program)

    def end(self) -> None:
        """Ends the interpreter."""
        self.interpreter.kill()


def _late(answer: Answer) -> bool:
    """Whether a program took too long."""
    if isinstance(answer.ending, messages.Raised) and is_time_limit(answer.ending):
        return True
    return answer.ran is not None and answer.ran > PROGRAM_CPU_SECONDS and answer.ending is None


def _reply_in(answer: Answer, program: str) -> str:
    """A program's reply.

    Raises:
        ProgramError: There is none, because the program failed.
    """
    if answer.flooded:
        raise prints_too_much()
    if answer.ending is not None:
        raise rejected(answer.ending, program + _CALL, program)
    if _late(answer):
        raise time_limit()
    _, sent, reply = answer.printed.rpartition(REPLY_MARK)
    if not sent:
        raise ProgramError(
            "no_make_walker",
            "the program ends before make_walker() can be called; remove 'return' outside functions.",
        )
    if len(reply.rstrip("\n")) > MAX_REPLY_CHARS:
        raise ProgramError("wrong_result", "the walker's description is far too long; add fewer joints and muscles.")
    return reply


def _caught(function: Callable[..., Value], *arguments: str) -> Value | ProgramError:
    """What a function returns, or the error with which it refuses a program."""
    try:
        return function(*arguments)
    except ProgramError as error:
        return error


def _verdict_on_death(error: InterpreterDiedError) -> ProgramError:
    if error.out_of_memory:
        return memory_limit("")
    if error.exhausted or error.frozen:
        return time_limit()
    return ProgramError(
        "sandbox_failure",
        "the program brought its interpreter down; write it with plain loops, lists and numbers.",
    )


def _not_started(error: Exception) -> RuntimeError:
    return RuntimeError(
        f"the sandbox's workers do not start: {error}; reinstall it with: pip install 'pydantic-monty==1.4.*'"
    )
