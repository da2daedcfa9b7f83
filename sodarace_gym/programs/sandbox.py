"""Runs untrusted walker programs in pydantic-monty, a Python interpreter written in Rust; never in CPython.

This is the door: it checks the text, finds the process's own pool of workers (worker_pool.py) and keeps it right across
threads, forks and the end of the process.
"""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Iterable, Iterator
from types import TracebackType

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.prelude import prepare
from sodarace_gym.programs.worker_pool import WorkerPool
from sodarace_gym.walkers.raw_walker import RawWalker

__all__ = ["MAX_SOURCE_BYTES", "RawWalker", "Sandbox", "default_sandbox", "run_program"]

MAX_SOURCE_BYTES = 64 * 1024
"""Longest program, in UTF-8 bytes. The largest admitted walker, written out one statement a line, takes about 40 KB."""


class Sandbox:
    """A pool of interpreter processes for untrusted walker programs.

    Workers start with the first program (or on entering the context) and end with :meth:`close`, with the context or
    with the process. Any number of threads may call :meth:`run`; each call uses one worker and waits for a free one
    with the GIL released. In a forked process the same object works on, with workers of its own.

    Args:
        processes: Most workers that calls of :meth:`run` use at a time, and most that one :meth:`run_many` does; by default one
            per processor. A worker takes 3 to 4 MB of its own.

    Raises:
        ValueError: ``processes`` is less than 1.
    """

    def __init__(self, processes: int | None = None) -> None:
        if processes is not None and processes < 1:
            raise ValueError(f"expected at least 1 process, got {processes}")
        self._processes = processes or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._pool: WorkerPool | None = None
        self._pool_pid = 0
        self._closed = False
        _sandboxes.add(self)

    def run(self, source: str) -> RawWalker:
        """Runs one program and returns the walker it describes, types checked, numbers and ids not yet.

        Args:
            source: The program; it must define ``make_walker()``.

        Raises:
            ProgramError: The program cannot be used; nothing else is raised for what a program does.
            RuntimeError: The sandbox was closed, or its workers cannot be started at all.
        """
        return self._started().run(prepare(_clean_text(source)))

    def run_many(self, sources: Iterable[str], processes: int | None = None) -> Iterator[RawWalker | ProgramError]:
        """Runs many programs from one thread, on several workers at a time.

        Programs know as little of each other as those given to :meth:`run` one by one, and get the same answers.

        Args:
            sources: The programs; a stream is read as workers become free, a few ahead of what is yielded.
            processes: Most workers to use, within the sandbox's own limit; None for that limit.

        Yields:
            For each program, in order, what it describes or why it cannot be used.

        Raises:
            RuntimeError: The sandbox was closed, or its workers cannot be started at all.
        """
        return self._started().run_many(map(_prepared, sources), processes)

    def close(self) -> None:
        """Ends the workers. Closing twice is fine; running a program afterwards is an error."""
        with self._lock:
            self._closed = True
            self._drop_pool()

    def __enter__(self) -> Sandbox:
        self._started()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _started(self) -> WorkerPool:
        """The pool of this very process, started if need be."""
        pool = self._pool
        if pool is not None and self._pool_pid == os.getpid():
            return pool
        with self._lock:
            if self._closed:
                raise RuntimeError("this Sandbox was closed; make a new one to run more programs")
            if self._pool is not None and self._pool_pid != os.getpid():
                self._drop_pool()
            if self._pool is None:
                self._pool = WorkerPool(self._processes)
                self._pool_pid = os.getpid()
            return self._pool

    def _drop_pool(self) -> None:
        """Ends the pool, or leaves it to the process it belongs to. The caller holds the lock."""
        pool, self._pool = self._pool, None
        if pool is None:
            return
        if self._pool_pid == os.getpid():
            pool.end()
        else:
            pool.abandon()

    def _forget_parent(self) -> None:
        """Starts afresh in a forked child, where the lock may be held by a thread that exists only in the parent."""
        self._lock = threading.Lock()
        self._drop_pool()


_sandboxes: weakref.WeakSet[Sandbox] = weakref.WeakSet()
_default: Sandbox | None = None
_default_lock = threading.Lock()


def default_sandbox() -> Sandbox:
    """The sandbox that this process shares, made when first asked for and closed at exit."""
    global _default
    with _default_lock:
        if _default is None:
            _default = Sandbox()
            atexit.register(_default.close)
        return _default


def run_program(source: str) -> RawWalker:
    """Runs one program in the shared sandbox; see :meth:`Sandbox.run`."""
    return default_sandbox().run(source)


def _after_fork_in_child() -> None:
    global _default_lock
    _default_lock = threading.Lock()
    for sandbox in list(_sandboxes):
        sandbox._forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


def _prepared(source: str) -> str | ProgramError:
    """A program as workers take it, or why they need not see it."""
    try:
        return prepare(_clean_text(source))
    except ProgramError as error:
        return error


def _clean_text(source: str) -> str:
    """The program with newlines as line ends, once it is known to be text of acceptable length."""
    if not isinstance(source, str):
        name = type(source).__name__
        raise ProgramError("not_text", f"the program is a value of type {name}; pass its source text as a str.")
    # Characters first: encoding a text of gigabytes is itself a cost.
    if len(source) > MAX_SOURCE_BYTES:
        raise _too_long(f"{len(source)} characters")
    try:
        size = len(source.encode())
    except UnicodeEncodeError:
        raise ProgramError("not_text", "the program holds invalid Unicode; save it as UTF-8 text.") from None
    if size > MAX_SOURCE_BYTES:
        raise _too_long(f"{size} bytes")
    if "\0" in source:
        raise ProgramError("not_text", "the program holds NUL characters; save it as plain text.")
    return source.replace("\r\n", "\n").replace("\r", "\n")


def _too_long(size: str) -> ProgramError:
    return ProgramError(
        "source_too_long",
        f"the program has {size}, at most {MAX_SOURCE_BYTES} bytes are allowed; write it shorter, with loops.",
    )
