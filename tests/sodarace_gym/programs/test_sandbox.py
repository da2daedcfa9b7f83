"""The sandbox's workers: shared by threads, replaced when they die, never used across a fork, gone at the end."""

from __future__ import annotations

import itertools
import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs import interpreter, worker_pool
from sodarace_gym.programs.interpreter import Interpreter
from sodarace_gym.programs.sandbox import Sandbox, default_sandbox
from sodarace_gym.walkers.raw_walker import RawWalker
from tests.sodarace_gym.sample_programs import TWO_JOINTS, with_body


def error_of(program: str, sandbox: Sandbox) -> ProgramError:
    with pytest.raises(ProgramError) as caught:
        sandbox.run(program)
    return caught.value


def run_script(script: str, *arguments: str) -> str:
    """What a script prints, run by a fresh Python; fails if it hangs or exits with an error."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path or os.getcwd() for path in sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments], capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def state(pid: int) -> str:
    """What the kernel says of a process: T for stopped, Z for dead but not yet collected, "" for gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def reaches(pid: int, states: tuple[str, ...]) -> bool:
    """Whether a process comes to one of these states; on a busy machine a signal takes a while to be obeyed."""
    for _ in range(200):
        if state(pid) in states:
            return True
        time.sleep(0.05)
    return False


def ends(pid: int) -> bool:
    """Whether a process ends."""
    return reaches(pid, ("Z", ""))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(processes=1) as sandbox:
        yield sandbox


def worker_of(sandbox: Sandbox) -> int:
    """Process id of the only worker."""
    (worker,) = sandbox._started()._free
    return worker.interpreter.pid


@pytest.fixture
def starts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The process id of the worker of every attempt to run a program, from here on."""
    pids: list[int] = []
    start = Interpreter.start

    def counted(self: Interpreter, session: bytes, feed: bytes) -> None:
        pids.append(self.pid)
        start(self, session, feed)

    monkeypatch.setattr(Interpreter, "start", counted)
    return pids


def test_killed_worker_is_replaced_without_anyone_noticing(sandbox: Sandbox) -> None:
    expected = sandbox.run(TWO_JOINTS)
    before = worker_of(sandbox)
    os.kill(before, signal.SIGKILL)
    assert sandbox.run(TWO_JOINTS) == expected
    assert worker_of(sandbox) != before


def test_frozen_worker_is_replaced_without_anyone_noticing(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "FROZEN_SECONDS", 0.2)
    expected = sandbox.run(TWO_JOINTS)
    before = worker_of(sandbox)
    os.kill(before, signal.SIGSTOP)
    assert reaches(before, ("T",))
    assert sandbox.run(TWO_JOINTS) == expected
    assert worker_of(sandbox) != before
    assert ends(before)


def test_worker_that_dies_under_a_program_is_forgiven_once(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sandbox.run(TWO_JOINTS)
    start = Interpreter.start
    deaths_left = 1

    def killed(self: Interpreter, session: bytes, feed: bytes) -> None:
        nonlocal deaths_left
        if deaths_left > 0:
            deaths_left -= 1
            os.kill(self.pid, signal.SIGKILL)
        start(self, session, feed)

    monkeypatch.setattr(Interpreter, "start", killed)
    assert sandbox.run(TWO_JOINTS) == expected
    assert deaths_left == 0
    deaths_left = 2
    assert error_of(TWO_JOINTS, sandbox).kind == "sandbox_failure"
    assert sandbox.run(TWO_JOINTS) == expected


# Operations during which the interpreter looks at no clock; the last takes its parser for ever.
UNINTERRUPTED = {
    "a product of huge integers": "x = 7 ** 1_000_000\nfor _ in range(9): x = x * x\n" + TWO_JOINTS,
    "a modular power": "x = pow(3, (1 << 200_000) - 1, (1 << 200_000) - 3)\n" + TWO_JOINTS,
    "nested definitions": "".join(" " * i + f"def f{i}():\n" for i in range(100)) + " " * 100 + "pass\n" + TWO_JOINTS,
}
only_linux = pytest.mark.skipif(
    sys.platform != "linux", reason="only Linux tells the processor time of another process"
)


@only_linux
@pytest.mark.parametrize("program", [*UNINTERRUPTED.values(), "while True: pass"], ids=[*UNINTERRUPTED, "endless"])
def test_a_program_that_burns_its_processor_time_is_stopped_at_once_and_not_tried_again(
    program: str, sandbox: Sandbox, starts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sandbox.run(TWO_JOINTS)
    monkeypatch.setattr(interpreter, "FROZEN_SECONDS", 1e6)  # patience has no part in it
    starts.clear()
    burnt = []
    clock = interpreter.cpu_seconds
    monkeypatch.setattr(interpreter, "cpu_seconds", lambda pid: burnt.append(clock(pid)) or burnt[-1])
    assert error_of(program, sandbox).kind == "time_limit"
    assert len(starts) == 1
    used = [seconds for seconds in burnt if seconds is not None]
    assert used[-1] - used[0] > interpreter.KILL_CPU_SECONDS
    # Looked at often enough: not much more than its allowance was burnt.
    assert used[-2] - used[0] <= interpreter.KILL_CPU_SECONDS
    assert ends(starts[0])
    assert sandbox.run(TWO_JOINTS) == expected


@only_linux
def test_a_program_that_took_a_little_too_long_is_tried_once_more(
    sandbox: Sandbox, starts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = sandbox.run(TWO_JOINTS)
    starts.clear()
    # It ended, but took more of a processor than it may; once, that may have been the machine's doing.
    times = iter([0.0, 0.15, 0.15, 0.2, 0.2])
    monkeypatch.setattr(interpreter, "cpu_seconds", lambda pid: next(times, 0.2))
    assert sandbox.run(TWO_JOINTS) == expected
    assert len(starts) == 2
    starts.clear()
    clock = itertools.count()
    monkeypatch.setattr(interpreter, "cpu_seconds", lambda pid: 0.15 * next(clock))
    assert error_of(TWO_JOINTS, sandbox).kind == "time_limit"
    assert len(starts) == 2


@only_linux
def test_a_starved_program_is_given_all_the_time_it_needs(starts: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(interpreter, "FROZEN_SECONDS", 0.1)
    monkeypatch.setattr(interpreter, "_LOOK_SECONDS", 0.01)
    # A program that takes several times as long as a frozen worker would be waited for, on a processor that is granted to it
    # a microsecond at a time.
    clock = itertools.count()
    looks = []
    monkeypatch.setattr(interpreter, "cpu_seconds", lambda pid: looks.append(pid) or 1e-6 * next(clock))
    slow = "x = 0\nfor i in range(4_000_000):\n    x = x + i\n" + TWO_JOINTS
    with Sandbox(1) as sandbox:
        expected = sandbox.run(TWO_JOINTS)
        starts.clear()
        looks.clear()
        assert sandbox.run(slow) == expected
        assert len(starts) == 1
        assert len(looks) > 12
        assert worker_of(sandbox) == starts[0]


def test_where_processor_time_is_not_known_the_wall_clock_decides(
    starts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "cpu_seconds", lambda pid: None)
    monkeypatch.setattr(worker_pool, "cpu_seconds", lambda pid: None)
    monkeypatch.setattr(interpreter, "FROZEN_SECONDS", 0.2)
    with Sandbox(1) as sandbox:
        expected = sandbox.run(TWO_JOINTS)
        worker = worker_of(sandbox)
        starts.clear()
        # Stopped by the interpreter itself.
        assert error_of("while True: pass", sandbox).kind == "time_limit"
        assert starts == [worker] * 2
        # Killed, and tried again: it may have been frozen.
        starts.clear()
        assert error_of(UNINTERRUPTED["nested definitions"], sandbox).kind == "time_limit"
        assert len(set(starts)) == 2
        assert sandbox.run(TWO_JOINTS) == expected


def test_systems_that_cannot_poll_pipes_have_frozen_workers_replaced_too(
    starts: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(select, "poll", raising=False)
    monkeypatch.setattr(interpreter, "FROZEN_SECONDS", 0.2)
    with Sandbox(1) as sandbox:
        expected = sandbox.run(TWO_JOINTS)
        worker = worker_of(sandbox)
        os.kill(worker, signal.SIGSTOP)
        assert reaches(worker, ("T",))
        starts.clear()
        assert sandbox.run(TWO_JOINTS) == expected
        assert len(set(starts)) == 2
        assert error_of(UNINTERRUPTED["nested definitions"], sandbox).kind == "time_limit"


def test_threads_share_a_sandbox_and_get_their_own_walkers() -> None:
    with Sandbox(processes=2) as sandbox:
        failures: list[object] = []

        def work(number: int) -> None:
            for step in range(25):
                program = with_body(f"wc.add_joint({number}, {step})")
                walker = sandbox.run(program if step % 5 else "import random\n" + program)
                if walker != RawWalker([(float(number), float(step))], []):
                    failures.append((number, step, walker))
                if step % 10 == 0 and error_of(f"thread_{number}", sandbox).kind != "unknown_name":
                    failures.append(number)

        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in threads)
        assert failures == []


def test_closed_sandbox_ends_its_workers_and_refuses_programs() -> None:
    sandbox = Sandbox(processes=1)
    worker = worker_of(sandbox)
    sandbox.close()
    sandbox.close()
    assert ends(worker)
    with pytest.raises(RuntimeError, match="closed"):
        sandbox.run(TWO_JOINTS)
    with pytest.raises(ValueError, match="at least 1"):
        Sandbox(processes=0)


def test_default_sandbox_is_one_per_process_and_ends_with_it() -> None:
    assert default_sandbox() is default_sandbox()
    script = """
import sys
from sodarace_gym.programs.sandbox import default_sandbox, run_program
run_program(sys.argv[1])
print(default_sandbox()._started()._free[0].interpreter.pid)
"""
    assert ends(int(run_script(script, TWO_JOINTS)))


FORK_SCRIPT = """
import json, os, sys, threading, warnings
from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.interpreter import Interpreter
from sodarace_gym.programs.sandbox import Sandbox, default_sandbox, run_program
warnings.simplefilter("ignore")
program, use_before, depth = sys.argv[1], sys.argv[2] == "used", int(sys.argv[3])
sandbox = Sandbox(1)
expected = worker = None

def own_worker():
    return sandbox._started()._free[0].interpreter.pid

if use_before:
    expected, worker = sandbox.run(program), own_worker()
    run_program(program)
    stop = threading.Event()
    def keep_busy():
        while not stop.is_set():
            run_program(program)
    busy = threading.Thread(target=keep_busy)
    busy.start()

def child(depth):
    walker = sandbox.run(program)
    try:
        sandbox.run("nothing")
    except ProgramError as error:
        kind = error.kind
    same = walker == run_program(program) and expected in (None, walker) and type(walker.joints[0]) is tuple
    if depth > 1:
        same = same and fork(depth - 1) == 0
    # Not os._exit: objects are destroyed as in any process that ends.
    sys.exit(0 if same and kind == "unknown_name" else 3)

def fork(depth):
    pid = os.fork()
    if pid == 0:
        child(depth)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])

status = fork(depth)
if use_before:
    stop.set()
    busy.join()
    # The child left the parent's worker alone.
    status = status or int(own_worker() != worker)
print(status, sandbox.run(program) == run_program(program))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
@pytest.mark.parametrize(("use_before", "depth"), [("used", 1), ("used", 2), ("unused", 1)])
def test_forked_process_gets_workers_of_its_own(use_before: str, depth: int) -> None:
    assert run_script(FORK_SCRIPT, TWO_JOINTS, use_before, str(depth)).split() == ["0", "True"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_evaluators_work_on_in_forked_processes() -> None:
    script = """
import os, sys, threading, time, warnings
import gymnasium as gym
from sodarace_gym.evaluation import Evaluator
warnings.simplefilter("ignore")
programs = [sys.argv[1], sys.argv[1].replace("3", "2"), sys.argv[1].replace("4", "5")]
def found(evaluator):
    # Texts never seen before, so that they are run again.
    return [e.fitness for e in evaluator.evaluate([f"{text}# {time.time()}" for text in programs], "Flat")]
def forked(check):
    pid = os.fork()
    if pid == 0:
        os._exit(0 if check() else 3)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
with Evaluator(n_jobs=2) as kept:
    expected = found(kept)
    envs = gym.make_vec("sodarace_gym:Sodarace-Flat-v0", num_envs=3)
    envs.reset(seed=0)
    rewards = envs.step(programs)[1]
    envs.reset(seed=0)
    print(forked(lambda: found(kept) == expected))
    print(forked(lambda: (envs.step(programs)[1] == rewards).all()))
    endless = [f"while True: pass # {n}" for n in range(4)]
    busy = threading.Thread(target=lambda: kept.evaluate(endless, "Flat"))
    busy.start()
    while not kept._lock.locked():
        time.sleep(0.01)
    print(forked(lambda: found(kept) == expected))
    busy.join()
    print(int(found(kept) != expected))
"""
    assert run_script(script, TWO_JOINTS).split() == ["0"] * 4


def test_spawned_process_finds_the_sandbox() -> None:
    script = """
import json, multiprocessing, sys
from sodarace_gym.programs.sandbox import run_program
if __name__ == "__main__":
    own = run_program(sys.argv[1])
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(json.dumps(pool.apply(run_program, (sys.argv[1],)) == own))
"""
    assert json.loads(run_script(script, TWO_JOINTS)) is True
