"""A run that is killed, starved of disk or damaged, and resumed, must end as if nothing had happened."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from elm_rl.errors import ElmError
from elm_rl.runs.children_file import read_children
from tests.elm_rl.evolution.killed_runs import (
    ENVIRONMENT,
    ITERATIONS,
    LIMITS,
    LOG,
    SCRIPT,
    logged_iteration,
    outcome,
    real_run,
    saved_iteration,
    served_run,
    toy_run,
)


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("unkilled") / "run"
    toy_run(folder)
    result = outcome(folder)
    assert result["summary"]["iterations"] == ITERATIONS
    assert len(result["programs"].splitlines()) > 20
    return result


def copy_of_run(tmp_path: Path) -> Path:
    folder = tmp_path / "run"
    toy_run(folder)
    return folder


# --- killed ---------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_killed_at_every_file_operation_and_resumed_is_the_unkilled_run(
    tmp_path: Path, unkilled: dict[str, Any]
) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "everywhere", str(tmp_path / "run")],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    kills = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(kills) > 12 * ITERATIONS
    expected = hashlib.sha256(repr(unkilled).encode()).hexdigest()
    assert [kill for kill in kills if kill["digest"] != expected] == []
    assert [kill for kill in kills if kill["saved"] < kill["logged"] - 1] == [], "more than one iteration was lost"


def test_real_run_killed_at_random_moments_is_the_unkilled_run(tmp_path: Path) -> None:
    real_run(tmp_path / "unkilled")
    folder, moments = tmp_path / "killed", random.Random(7)
    kills = 0
    for attempt in range(20):
        command = [sys.executable, SCRIPT, "real", str(folder)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, env=ENVIRONMENT)
        # Two more iterations to each kill: the run is killed all along its way.
        while process.poll() is None and logged_iteration(folder) < 2 * attempt + 1:
            time.sleep(0.002)
        time.sleep(moments.uniform(0.0, 0.03))
        process.kill()
        _, stderr = process.communicate()
        if process.returncode == 0:
            break
        assert process.returncode == -signal.SIGKILL, stderr.decode()
        kills += 1
        assert saved_iteration(folder) >= logged_iteration(folder) - 1
    assert kills >= 1
    assert outcome(folder) == outcome(tmp_path / "unkilled")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_run_with_a_server_killed_at_random_moments_is_what_its_answers_say(tmp_path: Path) -> None:
    """Which answer joins which iteration depends on the server; with that the run is repeated, to the last bit."""
    folder = tmp_path / "killed"
    done = subprocess.run(
        [sys.executable, SCRIPT, "served", str(folder)], capture_output=True, text=True, env=ENVIRONMENT, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10
    served_run(folder)
    tickets = [line["ticket"] for line in read_children(folder) if line["ticket"]]
    assert len(set(tickets)) == len(tickets) > 50
    served_run(tmp_path / "again", replay=folder)
    assert outcome(tmp_path / "again") == outcome(folder)


# --- disk full ------------------------------------------------------------------------------------------------------


def test_files_that_cannot_grow_say_so_and_lose_nothing(tmp_path: Path, unkilled: dict[str, Any]) -> None:
    done = subprocess.run(
        [sys.executable, SCRIPT, "limits", str(tmp_path)],
        capture_output=True,
        text=True,
        env=ENVIRONMENT,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    sentences = done.stdout.splitlines()
    assert len(sentences) == len(LIMITS)
    assert all(sentence.startswith("The disk is full: '") for sentence in sentences), sentences
    assert [sentence.split("'")[1].rpartition("/")[2] for sentence in sentences] == [".elm-rl.lock"] + 3 * [LOG]
    for limit in LIMITS:
        folder = tmp_path / str(limit)
        log = folder / "admitted.jsonl"
        assert unkilled["programs"].startswith(log.read_bytes() if log.exists() else b"")
        assert not list(folder.glob(".*.tmp"))
        toy_run(folder)
        assert outcome(folder) == unkilled


def test_full_file_system_says_so_and_loses_nothing(tmp_path: Path, unkilled: dict[str, Any]) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = f"mount -t tmpfs -o size=36k tmpfs '{disk}'"
    # A mount of its own in a name space of its own: nothing outside this process sees it, and it needs no rights.
    space = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c"]
    if not shutil.which("unshare") or subprocess.run([*space, mount], capture_output=True).returncode:
        pytest.skip("this system lets no one mount a small disk to fill")
    script = f"{mount} && exec '{sys.executable}' '{SCRIPT}' full '{disk}'"
    done = subprocess.run([*space, script], capture_output=True, text=True, env=ENVIRONMENT, timeout=120)
    assert done.returncode == 0, done.stderr
    sentence, digest = done.stdout.splitlines()
    assert sentence.startswith("The disk is full: '")
    assert digest == hashlib.sha256(repr(unkilled).encode()).hexdigest()


# --- damaged --------------------------------------------------------------------------------------------------------


def test_damaged_checkpoint_falls_back_to_the_one_before(tmp_path: Path, unkilled: dict[str, Any]) -> None:
    folder = copy_of_run(tmp_path)
    checkpoint = folder / "checkpoint.json"
    checkpoint.write_bytes(checkpoint.read_bytes().replace(b'"iteration": 3', b'"iteration": 2'))
    with pytest.warns(UserWarning, match="does not match its digest; the run goes on from the checkpoint before it"):
        assert saved_iteration(folder) == ITERATIONS - 1
    toy_run(folder)
    assert outcome(folder) == unkilled


def test_damaged_log_is_noticed_and_the_checkpoint_before_it_is_tried(tmp_path: Path, unkilled: dict[str, Any]) -> None:
    folder = copy_of_run(tmp_path)
    log = folder / "admitted.jsonl"
    log.write_bytes(log.read_bytes()[:-1])  # only the newest checkpoint knows the last record
    with pytest.warns(UserWarning, match="admitted.jsonl' is damaged"):
        toy_run(folder)
    assert outcome(folder) == unkilled


def test_no_usable_checkpoint_is_one_sentence_and_changes_nothing(tmp_path: Path) -> None:
    folder = copy_of_run(tmp_path)
    (folder / "checkpoint.json").write_bytes(b"\xff\x00")
    (folder / "checkpoint.previous.json").write_text('{"sha256": "0", "state": {}}')
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(
        ElmError, match=r"No checkpoint in .* can be used .*restore the folder.*or start a new run"
    ) as failure:
        toy_run(folder)
    assert "\n" not in str(failure.value)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_lost_checkpoints_do_not_cost_the_log(tmp_path: Path) -> None:
    folder = copy_of_run(tmp_path)
    (folder / "checkpoint.json").unlink()
    (folder / "checkpoint.previous.json").unlink()
    programs = (folder / "admitted.jsonl").read_bytes()
    with pytest.raises(ElmError, match="holds the log of a run but no checkpoint"):
        toy_run(folder)
    assert (folder / "admitted.jsonl").read_bytes() == programs
