"""A run that asks a server: killed within a reply it ends as one that was not, and its budget ends it so that it can go on."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from elm_rl.errors import ElmError
from elm_rl.evolution import EvolveConfig, run_evolve
from elm_rl.evolution.seeds import load_seed
from elm_rl.runs.children_file import read_children
from tests.elm_rl.mutation.api.rude_server import Handler, completion, disconnects, hangs, sends, serving

SQUARE = load_seed("square")


def walks(handler: Handler) -> None:
    """A walker that depends on the question only."""
    height = 2.0 + handler.body["seed"] % 40 / 10
    handler.send(200, completion(f"Here:\n```python\n{SQUARE.replace('3.0, 4.0', f'3.0, {height}')}```\n"))


def config(out: Path, url: str, operator: str = "", **settings: Any) -> EvolveConfig:
    return EvolveConfig(
        out=out, seeds=("square",), operators=(f"api:tiny@{url},name=served,concurrency=2,back_off=0.001{operator}",),
        batch_size=4, duration=1.0, n_jobs=1, progress=False, **{"iterations": 3, **settings},
    )  # fmt: skip


def outcome(out: Path) -> tuple[bytes, list[dict[str, Any]]]:
    children = [child | {"time": 0.0} for child in read_children(out)]
    return (out / "admitted.jsonl").read_bytes(), children


def test_a_run_killed_within_a_reply_ends_as_an_unkilled_one_and_pays_once(tmp_path: Path) -> None:
    with serving() as server:
        server.behave(walks)
        run_evolve(config(tmp_path / "whole", server.url))
        expected = outcome(tmp_path / "whole")
        assert len(server.bodies) == 1 + 12
        stuck = threading.Event()

        def sticks(handler: Handler) -> None:
            stuck.set()
            hangs(handler)

        server.behave(*[walks] * 7, sticks)  # in the second iteration
        settings = config(tmp_path / "killed", server.url)
        arguments = ["--out", str(settings.out), "--seeds", "square", "--operators", *settings.operators]
        arguments += ["--batch-size", "4", "--iterations", "3", "--duration", "1", "--n-jobs", "1", "--no-progress"]
        process = subprocess.Popen(
            [sys.executable, "-m", "elm_rl.cli", "evolve", *arguments], env=os.environ | {"PYTHONPATH": os.getcwd()}
        )
        assert stuck.wait(300)
        process.kill()
        process.wait()
        asked = len(server.bodies)
        server.behave(walks)
        run_evolve(config(tmp_path / "killed", server.url, resume=True))
        assert outcome(tmp_path / "killed") == expected
        assert asked + len(server.bodies) <= 2 + 12 + 2, "at most what was under way is asked again"


def test_a_budget_loses_no_iteration_between_checkpoints(tmp_path: Path) -> None:
    with serving() as server:
        server.behave(walks)
        run_evolve(config(tmp_path / "whole", server.url))
        server.behave(walks)
        limit = ",max_total_tokens=1000"
        summary = run_evolve(config(tmp_path / "run", server.url, limit, checkpoint_every=50))
        assert summary["iterations"] in (1, 2)
        asked = len(server.bodies)
        again = run_evolve(config(tmp_path / "run", server.url, limit, checkpoint_every=50, resume=True))
        assert again["iterations"] == summary["iterations"]
        assert again["spent"]["served"]["requests"] == summary["spent"]["served"]["requests"]
        assert len(server.bodies) == asked + 1, "the first question"
        done = run_evolve(config(tmp_path / "run", server.url, checkpoint_every=50, resume=True))
        assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
        finished = run_evolve(config(tmp_path / "run", server.url, checkpoint_every=50, resume=True))
        assert finished["spent"]["served"]["answers"] == done["spent"]["served"]["answers"] == 12


def test_a_server_may_be_asked_otherwise_by_a_resumed_run(tmp_path: Path) -> None:
    with serving() as server:
        server.behave(walks)
        served = f"api:tiny@{server.url},name=served,concurrency=2,back_off=0.001"

        def run(*operators: str, iterations: int, resume: bool) -> dict[str, Any]:
            settings = config(tmp_path / "run", server.url, iterations=iterations, resume=resume)
            return run_evolve(replace(settings, operators=operators))

        run("gp", f"{served},wait=false", iterations=2, resume=False)
        run(f"{served},wait=false", iterations=4, resume=True)  # what it still owes is taken
        run(served, iterations=6, resume=True)
        assert run(f"{served},wait=false", iterations=8, resume=True)["iterations"] == 8


def test_a_budget_ends_a_run_that_a_higher_one_lets_end_as_without(tmp_path: Path) -> None:
    with serving() as server:
        server.behave(walks)
        run_evolve(config(tmp_path / "whole", server.url))
        server.behave(walks)
        summary = run_evolve(config(tmp_path / "run", server.url, ",max_total_tokens=1000"))
        assert "max_total_tokens=1,000" in summary["stopped"]
        assert summary["iterations"] in (1, 2), "140 tokens a child, and two under way"
        assert len(server.bodies) <= 10
        run_evolve(config(tmp_path / "run", server.url, ",max_total_tokens=100000", resume=True))
        assert outcome(tmp_path / "run") == outcome(tmp_path / "whole")
        assert len(server.bodies) == 2 + 12, "every child was asked for once"
    server.behave(disconnects)
    with pytest.raises(ElmError, match="cannot be reached"):
        run_evolve(config(tmp_path / "none", server.url))
    assert not (tmp_path / "none").exists()
    with serving() as other:
        other.behave(sends(401, b"No"))
        with pytest.raises(ElmError, match="refuses a request without a key"):
            run_evolve(config(tmp_path / "none", other.url))
    assert not (tmp_path / "none").exists()
