"""The benchmark of whole evolutions: what its figures mean, and that it runs the code of a checkout."""

from __future__ import annotations

import time

import pytest

from benchmarks.evolution_run import Parts
from benchmarks.evolution_speed import HERE, cpu_table, parts_table, timed_run


def test_parts_leave_out_what_they_call() -> None:
    class Loop:
        def outer(self) -> int:
            time.sleep(0.02)
            return self.inner() + self.inner()

        def inner(self) -> int:
            time.sleep(0.05)
            return 1

    parts, loop = Parts(), Loop()
    parts.time(Loop, "outer", "outer")
    parts.time(loop, "inner", "inner")
    parts.time(loop, "of another version", "never")
    assert loop.outer() == 2
    assert set(parts.seconds) == {"outer", "inner"}
    assert parts.seconds["inner"] >= 0.1
    assert 0.02 <= parts.seconds["outer"] < parts.seconds["inner"]


def test_a_run_of_this_checkout_accounts_for_all_its_time() -> None:
    run = timed_run(HERE, iterations=2, seeds=["square", "radial"], batch=16)
    assert 0 < run["evaluations"] <= 32
    assert sum(run["parts"].values()) == pytest.approx(run["seconds"])
    assert run["parts"]["mutate (GP)"] > 0
    assert run["parts"]["evaluate: programs and walkers"] > 0
    assert run["cpu_seconds"] > 0
    assert run["cpu"]["walkers"] > 0
    assert "| all | " in parts_table([run])
    assert "| walkers | " in cpu_table([run])
