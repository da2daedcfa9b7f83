"""Runs untrusted walker programs in pydantic-monty, a Python interpreter written in Rust; never in CPython.

This is the door: it checks the text, finds the process's own pool of workers (worker_pool.py) and keeps it right across
threads, forks and the end of the process.
"""

from __future__ import annotations

import atexit
import ctypes
import os
import threading
import weakref
from types import TracebackType

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.forked_sandbox import HelperProcess
from sodarace_gym.programs.prelude import replace_imports
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
        processes: Most workers alive at a time; by default one per processor. A worker takes 3 to 4 MB of its own.

    Raises:
        ValueError: ``processes`` is less than 1.
    """

    def __init__(self, processes: int | None = None) -> None:
        if processes is not None and processes < 1:
            raise ValueError(f"expected at least 1 process, got {processes}")
        self._processes = processes or os.cpu_count() or 1
        self._lock = threading.Lock()
        self._pool: WorkerPool | HelperProcess | None = None
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
        program = replace_imports(_clean_text(source))
        return self._started().run(program)

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

    def _started(self) -> WorkerPool | HelperProcess:
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
                self._pool = _start(self._processes)
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
            # Destroying the object would kill the parent's workers: it is leaked on purpose.
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(pool))

    def _forget_parent(self) -> None:
        """Starts afresh in a forked child, where the lock may be held by a thread that exists only in the parent."""
        self._lock = threading.Lock()
        self._drop_pool()


_sandboxes: weakref.WeakSet[Sandbox] = weakref.WeakSet()
_default: Sandbox | None = None
_default_lock = threading.Lock()
# The process in which the interpreter library started its threads, if any did.
_library_pid: int | None = None


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


def _start(processes: int) -> WorkerPool | HelperProcess:
    """Starts workers in this process, or in a helper where a fork has made that impossible.

    The library keeps the threads that talk to its workers in a process-wide runtime. A forked child inherits the
    runtime without the threads, and any call would wait for ever.
    """
    global _library_pid
    if _library_pid not in (None, os.getpid()):
        return HelperProcess(processes)
    _library_pid = os.getpid()
    return WorkerPool(processes)


def _after_fork_in_child() -> None:
    global _default_lock
    _default_lock = threading.Lock()
    for sandbox in list(_sandboxes):
        sandbox._forget_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork_in_child)


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
