"""The sandbox for a process that was forked after its parent had used one: a helper process that runs the programs.

The helper, started by :class:`HelperProcess`, reads programs and writes answers, one JSON text a line, until its input
ends.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from typing import IO

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.worker_pool import WorkerPool
from sodarace_gym.walkers.raw_walker import RawWalker

_SERVE = "from sodarace_gym.programs.forked_sandbox import main; main()"


class HelperProcess:
    """Runs programs in a Python process of their own, one at a time; threads take turns.

    Args:
        processes: Most interpreter processes the helper may use.
    """

    def __init__(self, processes: int) -> None:
        self._lock = threading.Lock()
        self._processes = processes
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, program: str) -> RawWalker:
        """Runs one program.

        Raises:
            ProgramError: The program cannot be used.
            RuntimeError: The helper does not start or died.
        """
        with self._lock:
            line = self._ask(program) or self._ask(program)
        if not line:
            raise RuntimeError(
                "the sandbox's helper process died twice; see its messages above, "
                "or start processes with 'spawn' instead of 'fork'"
            )
        answer = json.loads(line)
        if "kind" in answer:
            raise ProgramError(answer["kind"], answer["message"])
        return RawWalker(
            [(x, y) for x, y in answer["joints"]],
            [(a, b, distance_only, amplitude, phase) for a, b, distance_only, amplitude, phase in answer["muscles"]],
        )

    def end(self) -> None:
        """Ends the helper and its workers."""
        with self._lock:
            if self._process is not None:
                assert self._process.stdin is not None
                with contextlib.suppress(BrokenPipeError):
                    self._process.stdin.close()
                self._process.wait()
                self._process = None

    def _ask(self, program: str) -> bytes:
        """The helper's answer to one program; empty if the helper died. Starts one if there is none."""
        if self._process is None:
            self._process = self._spawned()
        process = self._process
        assert process.stdin is not None and process.stdout is not None
        line = b""
        try:
            process.stdin.write(json.dumps(program).encode() + b"\n")
            process.stdin.flush()
            line = process.stdout.readline()
        except BrokenPipeError:
            pass
        finally:
            # Also when interrupted: an answer left in the pipe would be taken for that of the next program.
            if not line:
                process.kill()
                process.wait()
                self._process = None
        return line

    def _spawned(self) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(self._processes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            # This package may be importable only because of changes this process made to its path.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)},
        )


def serve(requests: IO[bytes], answers: IO[bytes], processes: int) -> None:
    """Answers programs until the requests end.

    Args:
        requests: One program a line, as a JSON string.
        answers: For each, a line with an object: ``joints`` and ``muscles``, or ``kind`` and ``message`` of the error.
        processes: Most interpreter processes.
    """
    pool = WorkerPool(processes)
    for line in requests:
        answer: dict[str, object]
        try:
            walker = pool.run(json.loads(line))
            answer = {"joints": walker.joints, "muscles": walker.muscles}
        except ProgramError as error:
            answer = {"kind": error.kind, "message": error.message}
        answers.write(json.dumps(answer).encode() + b"\n")
        answers.flush()
    pool.end()


def main() -> None:
    """Serves standard input and output; the number of processes is the first argument."""
    # The process this one serves decides when to stop; an interrupt typed at the terminal reaches both.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # Whatever is printed by accident must not mix with the answers.
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)
        serve(sys.stdin.buffer, answers, int(sys.argv[1]))
