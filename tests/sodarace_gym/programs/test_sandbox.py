"""The sandbox's workers: shared by threads, replaced when they die, never used across a fork, gone at the end."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sodarace_gym.errors import ProgramError
from sodarace_gym.programs import worker_pool
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
    pool = sandbox._started()
    assert isinstance(pool, worker_pool.WorkerPool)
    with pool.workers.checkout() as session:
        assert session.worker_pid is not None
        return session.worker_pid


def test_killed_worker_is_replaced_without_anyone_noticing(sandbox: Sandbox) -> None:
    expected = sandbox.run(TWO_JOINTS)
    before = worker_of(sandbox)
    os.kill(before, signal.SIGKILL)
    assert sandbox.run(TWO_JOINTS) == expected
    assert worker_of(sandbox) != before


def test_frozen_worker_is_replaced_without_anyone_noticing(sandbox: Sandbox) -> None:
    expected = sandbox.run(TWO_JOINTS)
    before = worker_of(sandbox)
    os.kill(before, signal.SIGSTOP)
    assert reaches(before, ("T",))
    assert sandbox.run(TWO_JOINTS) == expected
    assert worker_of(sandbox) != before
    assert ends(before)


def test_worker_that_dies_under_a_program_is_forgiven_once(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    expected = sandbox.run(TWO_JOINTS)
    clocks = worker_pool._cpu_seconds
    deaths_left = 1

    def kill(pid: int | None) -> float | None:
        nonlocal deaths_left
        if deaths_left > 0:
            deaths_left -= 1
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
        return clocks(pid)

    # The clock is read just before the program is fed.
    monkeypatch.setattr(worker_pool, "_cpu_seconds", kill)
    assert sandbox.run(TWO_JOINTS) == expected
    assert deaths_left == 0
    deaths_left = 2
    assert error_of(TWO_JOINTS, sandbox).kind == "sandbox_failure"
    assert sandbox.run(TWO_JOINTS) == expected


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells the processor time of another process")
def test_processor_time_decides_over_time_limits(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    worker = worker_of(sandbox)
    before = worker_pool._cpu_seconds(worker)
    assert before is not None
    busy = "x = 0\nfor i in range(100000):\n    x = x + i\n" + TWO_JOINTS
    expected = sandbox.run(busy)
    after = worker_pool._cpu_seconds(worker)
    assert after is not None
    assert before < after < before + 5

    attempts = []
    replies = worker_pool.WorkerPool._reply

    def counted(pool: worker_pool.WorkerPool, program: str) -> str:
        attempts.append(program)
        return replies(pool, program)

    monkeypatch.setattr(worker_pool.WorkerPool, "_reply", counted)
    # A worker that seems to get no processor time at all is given more chances, though not for ever.
    monkeypatch.setattr(worker_pool, "_cpu_seconds", lambda pid: 1.0)
    assert error_of("while True: pass", sandbox).kind == "time_limit"
    assert len(attempts) == worker_pool._STARVED_ATTEMPTS
    # A program that ends within the wall-clock limit, but took too much of a fast processor, is refused all the same.
    attempts.clear()
    clock = itertools.count()
    monkeypatch.setattr(worker_pool, "_cpu_seconds", lambda pid: float(next(clock)))
    assert error_of(busy, sandbox).kind == "time_limit"
    assert len(attempts) == worker_pool._LATE_ATTEMPTS
    # Once may have been the machine's doing, which is forgiven.
    times = iter([0.0, 1.0, 1.0, 1.0])
    monkeypatch.setattr(worker_pool, "_cpu_seconds", lambda pid: next(times))
    assert sandbox.run(busy) == expected
    assert next(times, None) is None
    # Systems that do not tell go by the wall clock.
    attempts.clear()
    monkeypatch.setattr(worker_pool, "_cpu_seconds", lambda pid: None)
    assert error_of("while True: pass", sandbox).kind == "time_limit"
    assert len(attempts) == worker_pool._LATE_ATTEMPTS
    assert sandbox.run(busy) == expected


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
with default_sandbox()._started().workers.checkout() as session:
    print(session.worker_pid)
"""
    assert ends(int(run_script(script, TWO_JOINTS)))


FORK_SCRIPT = """
import json, os, sys, threading, warnings
from sodarace_gym.errors import ProgramError
from sodarace_gym.programs.sandbox import Sandbox, default_sandbox, run_program
warnings.simplefilter("ignore")
program, use_before, depth = sys.argv[1], sys.argv[2] == "used", int(sys.argv[3])
sandbox = Sandbox(1)
expected = worker = None

def own_worker():
    with sandbox._started().workers.checkout() as session:
        return session.worker_pid

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
def test_helper_of_a_forked_process_is_replaced_when_it_dies() -> None:
    script = """
import os, sys, warnings
from sodarace_gym.programs.sandbox import Sandbox
warnings.simplefilter("ignore")
sandbox = Sandbox(1)
expected = sandbox.run(sys.argv[1])
pid = os.fork()
if pid == 0:
    same = sandbox.run(sys.argv[1]) == expected
    helper = sandbox._started()._process.pid
    os.kill(helper, 9)
    same = same and sandbox.run(sys.argv[1]) == expected
    second = sandbox._started()._process
    sandbox.close()
    os._exit(0 if same and second.pid != helper and second.returncode == 0 else 3)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""
    assert run_script(script, TWO_JOINTS).split() == ["0"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_evaluators_work_on_in_forked_processes() -> None:
    script = """
import os, sys, threading, time, warnings
import gymnasium as gym
from sodarace_gym.evaluation.evaluator import Evaluator
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
